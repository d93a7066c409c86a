"""The pages of the dashboard as texts: what stands in them, what never does, and how they are kept."""

from __future__ import annotations

import html
import os
import random
import re
import sys
from pathlib import Path

import pytest
from fleet_support import DAY, NOW, Book, Fact, a_fact, a_fleet
from test_report_html import words

from modelmedic import rooms
from modelmedic.errors import ModelmedicError
from modelmedic.fleet import site, survey
from modelmedic.masking import Masker

pytestmark = pytest.mark.once
TOKEN = "hf_" + "Zq7" * 11
EVIL = "<img src=x onerror=\"document.title='OWNED'\"><script>document.title='OWNED'</script>{{ 7 * 7 }}"


def pages(connection, *, labels=False, days=30, mask=str) -> dict[str, str]:
    found = survey.survey(connection, now=NOW, days=days)
    room = rooms.load("reports", "dashboard")
    return dict(room.pages(connection, found, mask=mask, labels=labels))


@pytest.fixture(scope="module")
def fleet() -> dict[str, str]:
    return pages(a_fleet())


def test_the_index_says_what_a_person_asks_first(fleet):
    text = words(fleet["index.html"])
    order = [
        "26 of 40 machines not well; 1 stopped reporting.",
        "failing 26 a check fails",
        "Where to look first",
        "flash-attn-abi-mismatch",
        "flash-attn 2.5.8 12 of 12, against 0 of 28",
        "Sick first.",
        "Nothing separates them: of",
        "driver 535.x the same machines: driver 535.183.01",
        "12 days 1 day healthy",
        "The last 30 days",
        "refetch_partial_shard 17 of 19",
        "slower: 1.9 times",
    ]
    places = [text.index(part) for part in order]
    assert places == sorted(places)


def test_each_machine_has_a_page_that_the_index_links(fleet):
    linked = set(re.findall(r'href="(machine-[^"]+)"', fleet["index.html"]))
    assert linked == set(fleet) - {"index.html"}
    assert len(linked) == 40


def test_a_machine_page_tells_what_changed_between_green_and_red(fleet):
    own = next(text for text in fleet.values() if "(this machine) is" in words(text))
    text = words(own)
    assert "Wrong then: packages.flash_attn flash-attn: 2.4.2 → 2.5.8" in text
    assert "The disk /models will be full in 2 days." in text
    assert own.count('class="mm-spark"') == 2
    assert "disk.free_bytes[/models] 238.5 GiB" in text


def test_labels_are_shown_only_when_asked_for(fleet):
    assert not any("render-0" in text for text in fleet.values())
    shown = pages(a_fleet(machines=4), labels=True)
    assert all("render-0" in text for text in shown.values())


def test_a_label_is_not_masked_and_a_finding_is():
    book = Book()
    machine = book.machine("machine:00000000aa", label="workhorse")
    install = book.install(machine, folder="/home/workhorse/Wan2.2")
    what = f"{'x' * 580} workhorse token={TOKEN} " * 40
    book.run(machine, install, NOW, [("x.one", "failed", {"what": what, "why": what})])
    masker = Masker(names=(("workhorse", "<host>"),))
    found = pages(book.close(), labels=True, mask=masker.mask)
    for text in found.values():
        shown = words(text)
        assert shown.count("workhorse") == shown.count("workhorse machine:00000000aa") > 0
        assert "Zq7" not in text
    assert "<host>" in words(found["machine-00000000aa.html"])


def test_no_secret_comes_through_where_a_text_is_cut():
    masker = Masker(secrets=(TOKEN,))
    for length in (165, 180, 195, 565, 580, 595):
        book = Book()
        machine = book.machine("machine:00000000aa")
        what = "x" * length + " " + TOKEN
        book.run(machine, book.install(machine), NOW, [("x.one", "failed", {"what": what})])
        assert "hf_" not in "".join(pages(book.close(), mask=masker.mask).values())


# -- strangers' text -----------------------------------------------------------------------------


def a_hostile_fleet(path: Path | str = ":memory:"):
    """Return a fleet in which every text is a stranger's attempt."""
    huge = "A" * 5_000  # of names the history keeps 500 letters, of texts 4,000
    texts = [
        EVIL,
        "\x1b[31mred\x00\x9b",
        "\u202egnp.exe",
        "a\nb\r\nc",
        '=HYPERLINK("http://x")',
        huge,
        "</script>",
        "'\"`",
    ]
    book = Book(path)
    for number, text in enumerate(texts * 2):
        evil = f"{text}{EVIL}"
        machine = book.machine(
            f"{number}/../../{evil}" if number else "machine:00000000aa", label=evil
        )
        install = book.install(machine, folder=evil, profile=evil)
        fact = Fact(*[evil] * 3, (evil,), 16, {evil: evil}, {evil: 7})
        for age in (3, 2, 1):
            outcome = "failed" if age != 2 and number % 2 else "degraded"
            told = "A" * 10_000_000 + evil if number == age == 1 else evil
            row = {"severity": evil, "failure_id": evil, "what": told, "why": told, "seconds": 9.0}
            rows = [(f"x.one[{evil}]", outcome, row), (evil, "passed", {"seconds": 3.0})]
            fact.packages[evil] = f"{evil}{age}"
            book.run(machine, install, NOW - age * DAY, rows, environment=book.environment(fact))
        book.heal(machine, NOW - DAY, evil, "healed")
        book.connection.execute(
            "INSERT INTO minute VALUES (?, ?, ?, 1, 1, 1, 1, 1)", (machine, evil, int(NOW))
        )
        book.connection.execute(
            "INSERT INTO alert (machine_id, key, severity, first_at, last_at, times, text, command)"
            " VALUES (?, ?, ?, ?, 1e300, 1, ?, ?)", (machine, evil, evil, -1e300, evil, evil),
        )  # fmt: skip
    book.connection.execute("UPDATE check_name SET title = ?, area = ?", (EVIL, EVIL))
    return book.close()


def test_every_text_of_the_history_is_escaped_and_cut():
    found = pages(a_hostile_fleet(), labels=True)
    for name, text in found.items():
        assert site._PAGE.fullmatch(name)
        assert text.count("<script>") == (name == "index.html")
        assert "<img" not in text
        assert " 49" not in words(text)
        assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\x80-\x9f\u202e\ud800-\udfff]", text)
        assert len(text.encode()) < 300_000


def test_a_strangers_name_never_becomes_a_path():
    assert site.page_name("machine:1f2e3d4c5b") == "machine-1f2e3d4c5b.html"
    names = [
        "machine:../../x",
        "..",
        "machine:",
        "MACHINE:1f2e3d4c5b",
        "machine:1f2e3d4c5b\n",
        "con",
        "\udcff",
        "a" * 999,
    ]
    found = {site.page_name(name) for name in names}
    assert len(found) == len(names)
    assert all(re.fullmatch(r"machine-x[0-9a-f]{16}\.html", name) for name in found)


def test_the_pages_fetch_nothing_and_run_only_their_own_script(fleet):
    for name, text in fleet.items():
        policy = html.unescape(re.search(r'Policy" content="([^"]*)"', text)[1])
        rules = dict(rule.split(None, 1) for rule in policy.split("; "))
        assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
        assert "unsafe" not in policy
        assert (rules["script-src"] == "'none'") == (name != "index.html")
        assert not re.search(r"<link|@import|url\(|\bsrc=|style=|https?://|\bon\w+=", text)


def test_the_index_of_five_hundred_machines_is_bounded():
    random_, book = random.Random(1), Book()
    book.connection.execute("BEGIN")
    for _ in range(500):
        machine = book.machine(f"machine:{random_.getrandbits(40):010x}")
        rows = [
            (f"area.check{n}", "failed", {"what": "Something does not hold here. " * 30})
            for n in random_.sample(range(60), 5)
        ]
        environment = book.environment(a_fact(random_))
        book.run(machine, book.install(machine), NOW, rows, environment=environment)
    found = pages(book.close())
    assert len(found) == 501
    assert len(found["index.html"].encode()) < 2_000_000


def test_each_colour_can_be_read_on_its_ground():
    """At least 4.5 to 1, in light and in dark. Source: WCAG 2.2, success criterion 1.4.3."""
    css = (rooms.room("reports") / "templates" / "dashboard.css").read_text(encoding="utf-8")
    sets = re.findall(r":root \{([^}]*)\}", css)[:2]
    for text in sets:
        colour = dict(re.findall(r"--([\w-]+): (#\w+)", text))
        on_back = ["text", "soft", "link", "silent"]
        pairs = [(name, "back") for name in on_back] + [("text", "bad-back"), ("text", "good-back")]
        pairs += [("on", name) for name in ("bad", "good", "unclear", "degraded", "other")]
        for front, back in pairs:
            light, dark = sorted((luminance(colour[front]), luminance(colour[back])), reverse=True)
            assert (light + 0.05) / (dark + 0.05) >= 4.5, (front, back)


def luminance(colour: str) -> float:
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    parts = [int(digits[n : n + 2], 16) / 255 for n in (0, 2, 4)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return sum(weight * p for weight, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


# -- the folder ----------------------------------------------------------------------------------


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


PAGES = [("machine-00aa.html", "one"), ("index.html", "two")]


def test_a_dashboard_is_replaced_whole(tmp_path):
    folder = tmp_path / "a" / "site"
    site.write(folder, [*PAGES, ("machine-00bb.html", "gone")])
    written = site.write(folder, PAGES)
    assert (written.pages, written.size_bytes, written.index) == (2, 6, folder / "index.html")
    assert names_in(folder) == [site.MARK, "index.html", "machine-00aa.html"]
    assert names_in(folder.parent) == ["site"]


def test_what_is_no_dashboard_is_not_touched(tmp_path):
    for name, fill in {
        "files": lambda p: (p.mkdir(), (p / "index.html").write_text("mine")),
        "more": lambda p: (site.write(p, PAGES), (p / "notes.txt").write_text("mine")),
        "file": lambda p: p.write_text("mine"),
        "link": lambda p: (site.write(tmp_path / "real", PAGES), p.symlink_to(tmp_path / "real")),
    }.items():
        folder = tmp_path / name
        fill(folder)
        before = sorted(tmp_path.rglob("*"))
        with pytest.raises(
            site.NotOurs, match=r"is not replaced by a dashboard: .*--output FOLDER"
        ):
            site.write(folder, PAGES)
        assert sorted(tmp_path.rglob("*")) == before
    with pytest.raises(site.NotOurs, match="it is a link"):
        site.write(tmp_path / "link", PAGES)


def test_an_empty_folder_is_filled(tmp_path):
    (tmp_path / "site").mkdir()
    assert site.write(tmp_path / "site", PAGES).index.read_text() == "two"


def test_when_a_page_cannot_be_made_the_old_dashboard_stays(tmp_path):
    folder = tmp_path / "site"
    site.write(folder, PAGES)

    def broken():
        yield "machine-00bb.html", "new"
        raise OSError(28, "No space left on device")

    with pytest.raises(
        ModelmedicError, match=r"No space left on device\. What lay there is as it was"
    ):
        site.write(folder, broken())
    assert (folder / "index.html").read_text() == "two"
    assert names_in(tmp_path) == ["site"]
    with pytest.raises(ValueError, match=r"\.\./x"):
        site.write(folder, [("../x", "")])


def test_when_the_new_folder_cannot_take_its_place_the_old_one_comes_back(tmp_path, monkeypatch):
    folder = tmp_path / "site"
    site.write(folder, PAGES)
    rename = Path.rename

    def refused(self, target):
        if self.suffix == ".new":
            raise PermissionError(13, "Permission denied")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refused)
    with pytest.raises(ModelmedicError, match="Permission denied"):
        site.write(folder, PAGES)
    assert (folder / "index.html").read_text() == "two"
    assert names_in(tmp_path) == ["site"]


def test_what_a_killed_run_left_is_cleared_when_it_is_old_and_ours(tmp_path):
    for name, age in (("0000000a.new", 7200), ("0000000b.old", 60), ("0000000c.old", 7200)):
        left = tmp_path / f".site-{name}"
        site.write(left, PAGES)
        if name[7] == "c":
            (left / "notes.txt").write_text("mine")
        os.utime(left, (left.stat().st_atime, left.stat().st_mtime - age))
    site.write(tmp_path / "site", PAGES)
    assert names_in(tmp_path) == [".site-0000000b.old", ".site-0000000c.old", "site"]


@pytest.mark.skipif(sys.platform == "win32", reason="modes are POSIX's")
def test_the_folder_keeps_the_mode_that_its_owner_gave_it(tmp_path):
    folder = tmp_path / "site"
    site.write(folder, PAGES)
    folder.chmod(0o750)
    site.write(folder, PAGES)
    assert folder.stat().st_mode & 0o777 == 0o750
