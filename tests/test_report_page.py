"""The page for people in a real browser: seen, filtered, read aloud, printed, attacked."""

from __future__ import annotations

import copy
import itertools
import math
import re

import browser_support as browser
import pytest
from room_support import OUTCOMES, SEVEN, Room, Run
from test_report_html import MEANINGS, a_finding, a_record, rendered, words

from modelmedic import rooms

pytestmark = pytest.mark.once

SECONDS = {"started": 0.5, "seconds": 30.0}
RESOURCES = {
    "cpu": {"name": "Processor", "unit": "%", "points": [[1, 5], [2, 90], [3, None], [4, 20]]},
    "disk_free": {"name": "Disk free", "unit": "bytes", "points": [[1, 10**9], [2, 9 * 10**8]]},
}
STATUS = "document.querySelector('[role=status]').textContent"
SHOWN = (
    "[...document.querySelectorAll('.mm-all [data-area]')].filter(row => row.checkVisibility())"
    ".map(row => row.innerText.split(/\\s+/).findLast(word => word.startsWith('x.'))).join(' ')"
)
SEARCH = "document.querySelector('input[type=search]')"


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    """One browser for all pages: it takes seconds to start."""
    with browser.started(tmp_path_factory.mktemp("chromium")) as running:
        yield running


@pytest.fixture(scope="module")
def seven(tmp_path_factory) -> Run:
    return Room(tmp_path_factory.mktemp("seven")).run(SEVEN, "--heal")


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """A run of 350 checks: 50 of each outcome, in five areas, with times and resources."""
    found = [
        a_finding(
            f"x.{n:03}", OUTCOMES[n % 7], area=f"area{n % 5}", title=f"Thing {n:03} holds.",
            what=f"It broke at place{n:03}. " if n % 7 < 4 else "", facts={"place": f"deep{n:03}"},
            blocked_by="x.000" if n % 7 == 2 else None, started=n / 10, seconds=0.1 + n % 9,
        )
        for n in range(350)
    ]  # fmt: skip
    record = a_record(found, exit_code=1, duration_seconds=60.0, resources=RESOURCES)
    record["environment"]["inventory"] = {
        "hash": "ab", "system": "Linux 6.1", "python": "", "driver": "550.54", "gpus": [],
        "memory_bytes": None, "packages": {"torch": "2.4.0"}, "files": {},
    }  # fmt: skip
    path = tmp_path_factory.mktemp("many") / "many.html"
    path.write_text(rooms.load("reports", "html").render(record), encoding="utf-8")
    return path


def assert_says_all(text: str) -> None:
    assert "Not ready: 2 causes, 1 check waited on them." in text
    for outcome, meaning in zip(OUTCOMES, MEANINGS, strict=True):
        assert f"{outcome} 1 {meaning}" in text
    assert "There is no card. Most often not plugged in. Next: Plug one in." in text
    assert "Before The folder extra is missing." in text


# -- with and without scripts --------------------------------------------------------------------


def test_with_scripts_the_block_and_the_table_show_all_seven(seven, chromium):
    with chromium.page(seven.folder / "report.html") as page:
        html = page.run("document.documentElement.outerHTML")
        assert page.complaints() == []
    block, _, below = html.partition('<details class="mm-raw">')
    assert_says_all(words(block))
    shown = re.findall(r'<td class="col-outcome">(\w+)</td>', below)
    assert sorted(shown) == sorted(OUTCOMES)
    assert html.count('id="results-table"') == 1


def test_without_scripts_the_block_says_all_and_shows_no_dead_control(seven, chromium):
    with chromium.page(seven.folder / "report.html", has_scripts=False) as page:
        seen = words(page.run("document.body.innerText"))
        assert page.run(f"{SEARCH}.checkVisibility()") is False
        page.run("document.querySelector('.mm-raw').open = true")
        raw = words(page.run("document.body.innerText"))
        assert page.complaints() == []
    assert_says_all(seen)
    assert "Raw test table" in seen
    assert "test_room.py::test_failed" not in seen
    assert "This table needs scripts. Everything in it also stands above." in raw


def test_even_unescaped_text_could_do_nothing(seven, chromium, tmp_path):
    evil = '<img src="data:x" onerror="document.title=\'OWNED\'"><script>document.title="OWNED"</script>'
    mark = '<section class="mm"'
    path = tmp_path / "evil.html"
    path.write_text(seven.page.replace(mark, evil + mark, 1), encoding="utf-8")
    with chromium.page(path) as page:
        assert page.run("document.title") == "modelmedic: demo"
        assert page.run("document.querySelectorAll('img[onerror]').length") == 1
        assert page.run("document.querySelectorAll('.col-outcome').length") == 7
        assert any("script-src" in each for each in page.complaints()), "and the browser says so"


def test_a_foreign_request_would_be_seen(chromium, tmp_path):
    path = tmp_path / "calls.html"
    path.write_text("<img src='http://127.0.0.1:9/x.png'>", encoding="utf-8")
    with chromium.page(path) as page:
        assert any("127.0.0.1:9" in each for each in page.complaints())


# -- search and filter ---------------------------------------------------------------------------


def test_search_and_filters_work_by_keyboard_alone(many, chromium):
    with chromium.page(many) as page:
        page.run(f"{SEARCH}.focus()")
        page.write("x.14")
        until(page, f"{STATUS}.startsWith('11 of')")
        assert page.run(STATUS) == "11 of 350 findings shown."
        expected = sorted([0, *range(140, 150)], key=lambda n: (n % 7, n))  # 0: 142 waits on it
        assert page.run(SHOWN).split() == [f"x.{n:03}" for n in expected]
        for _ in range(3):  # area, Show all, first outcome
            page.press("Tab", 9)
        page.press(" ", 32, " ")
        until(page, f"{STATUS}.startsWith('3 of')")
        assert page.run(SHOWN) == "x.000 x.140 x.147", "failed ones alone"
        page.run(f"{SEARCH}.focus()")
        page.press("Escape", 27)
        until(page, f"{STATUS}.startsWith('All')")
        assert page.run("document.querySelectorAll('input:checked').length") == 0
        assert page.complaints() == []


def test_evidence_is_searched_too_and_areas_are_chosen(many, chromium):
    with chromium.page(many) as page:
        page.run(f"{SEARCH}.value = 'DEEP007'; {SEARCH}.form.requestSubmit()")
        assert page.run(SHOWN) == "x.007"
        page.run("document.querySelector('button[type=reset]').click()")
        until(page, f"{STATUS}.startsWith('All')")
        page.run(
            "const area = document.querySelector('select'); area.value = 'area3';"
            "area.dispatchEvent(new Event('change', {bubbles: true}))"
        )
        assert page.run(STATUS) == "70 of 350 findings shown."
        assert {int(name[2:]) % 5 for name in page.run(SHOWN).split()} == {3}
        assert "(10 shown)" in page.run("document.querySelector('.mm-all summary').textContent")


def test_nothing_found_is_said(many, chromium):
    with chromium.page(many) as page:
        page.run(f"{SEARCH}.value = 'nowhere at all'; {SEARCH}.form.requestSubmit()")
        assert page.run(STATUS) == "0 of 350 findings shown."
        assert page.run(SHOWN) == ""


def test_links_work_into_what_is_folded_or_filtered_out(many, chromium):
    with chromium.page(many) as page:
        row = page.run("document.querySelector('[data-outcome=passed] tr[id]').id")
        is_seen = f"document.getElementById('{row}').checkVisibility()"
        assert page.run(is_seen) is False
        page.run(f"location.hash = '{row}'")
        until(page, is_seen)
        page.run(f"{SEARCH}.value = 'thing 000'; {SEARCH}.form.requestSubmit()")
        assert page.run(is_seen) is False
        page.run("location.hash = ''")
        page.run(f"location.hash = '{row}'")
        until(page, is_seen)
        targets = page.run(
            "[...document.querySelectorAll('.mm a')].filter(link => !document.getElementById("
            "link.hash.slice(1))).length"
        )
        assert targets == 0, "no link leads nowhere"


def until(page, condition: str) -> None:
    page.run(
        "new Promise((done, fail) => { let left = 400; const look = () => { "
        f"if ({condition}) done(); else if (!left--) fail(new Error('never')); "
        "else setTimeout(look, 25) }; look() })"
    )


# -- dark, narrow, printed, by keyboard, read aloud ----------------------------------------------


def test_dark_is_dark_and_paper_is_white(many, chromium):
    seen = {}
    for name, how in {
        "light": {}, "dark": {"scheme": "dark"}, "paper": {"scheme": "dark", "media": "print"},
    }.items():  # fmt: skip
        with chromium.page(many, **how) as page:
            seen[name] = page.run("getComputedStyle(document.body).backgroundColor")
            assert page.complaints() == []
    assert seen["light"] == seen["paper"] == "rgb(255, 255, 255)"
    assert seen["dark"] == "rgb(21, 23, 26)"


@pytest.mark.parametrize("width", [320, 390, 1000])
def test_nothing_is_wider_than_the_screen(many, chromium, width):
    root = "document.documentElement"
    with chromium.page(many, width=width) as page:
        page.run("document.querySelectorAll('details').forEach(each => each.open = true)")
        assert page.run(f"{root}.scrollWidth") <= width


def test_printed_all_is_open_and_no_control_is_there(many, chromium):
    with chromium.page(many, media="print") as page:
        page.run("dispatchEvent(new Event('beforeprint'))")
        assert len(page.run(SHOWN).split()) == 350
        for control in ("form.mm-filter", "nav", ".mm-skip"):
            assert page.run(f"document.querySelector('{control}').checkVisibility()") is False
        page.run("dispatchEvent(new Event('afterprint'))")
        assert page.run("document.querySelector('[data-outcome=passed]').open") is False
        assert len(page.ask("Page.printToPDF")["data"]) > 100_000


def test_the_keyboard_reaches_all_and_shows_where_it_is(many, chromium):
    with chromium.page(many) as page:
        page.press("Tab", 9)
        assert page.run("document.activeElement.className") == "mm-skip"
        assert page.run("document.activeElement.getBoundingClientRect().left") > 0
        reached = []
        for _ in range(6):
            page.press("Tab", 9)
            reached.append(page.run("document.activeElement.textContent"))
            assert page.run("getComputedStyle(document.activeElement).outlineWidth") == "3px"
    assert reached[:5] == [
        "What is wrong", "All findings", "Where the time went", "The machine meanwhile",
        "What was examined",
    ]  # fmt: skip
    assert reached[5].startswith("50 checks waited on it")


def test_a_screen_reader_hears_parts_headings_and_names(many, chromium):
    with chromium.page(many) as page:
        page.run("document.querySelectorAll('details').forEach(each => each.open = true)")
        nodes = page.ask("Accessibility.getFullAXTree")["nodes"]
    known = {node["nodeId"]: node for node in nodes}
    heard = [
        (node["role"]["value"], node.get("name", {}).get("value", ""), properties(node))
        for node in in_order(nodes[0], known)
        if not node["ignored"]
    ]
    roles = {role for role, _name, _rest in heard}
    assert {"main", "navigation", "search", "status", "region"} <= roles
    levels = [rest["level"] for role, _name, rest in heard if role == "heading"]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    named = {"image", "img", "searchbox", "combobox", "checkbox", "button", "link", "table"}
    unnamed = [role for role, name, _rest in heard if role in named and not name.strip()]
    assert [role for role in unnamed if role != "table"] == []
    assert ("searchbox", "Search") in {(role, name) for role, name, _rest in heard}
    images = [name for role, name, _rest in heard if role in {"image", "img"}]
    assert images == ["Processor", "Disk free"]
    assert sum(role == "columnheader" for role in (role for role, *_ in heard)) >= 10


def in_order(node: dict, known: dict) -> list[dict]:
    below = [each for child in node.get("childIds", ()) for each in in_order(known[child], known)]
    return [node, *below]


def properties(node: dict) -> dict:
    return {each["name"]: each["value"].get("value") for each in node.get("properties", ())}


# -- size and strangers --------------------------------------------------------------------------

MANY_CHECKS = '''
@pytest.mark.parametrize("n", range(500))
@pytest.mark.check("room.many", area="system")
def test_many(n):
    """It is whole."""
    if n % 3 == 0:
        raise Unhealthy(f"File {n} is cut short. " * 5, "Most often a full disk. " * 5, "Fetch it.",
                        evidence={"size_bytes": n, "log": "line of a log\\n" * 2000})
'''


def test_five_hundred_findings_with_long_evidence_stay_under_two_megabytes(tmp_path, chromium):
    run = Room(tmp_path).run(MANY_CHECKS)
    path = run.folder / "report.html"
    assert path.stat().st_size < 2_000_000
    assert len(run.record["findings"]) == 500
    with chromium.page(path) as page:
        assert page.complaints() == []
        assert "failed 167" in words(page.run("document.body.innerText"))


EVIL = (
    '</style></script><script>alert(1)</script><img src=x onerror="alert(2)">'
    "\"'><svg onload=alert(3)>javascript:alert(4)\x1b[31m\x1b]0;x\x07\r\n\u202e\u2066=cmd|calc!A1\udcff`"
)


def poisoned(value, evil: str):
    """Return a JSON value with every text in it replaced but those the schema fixes."""
    if isinstance(value, dict):
        return {key: part if key in FIXED else poisoned(part, evil) for key, part in value.items()}
    if isinstance(value, list):
        return [poisoned(part, evil) for part in value]
    return evil if isinstance(value, str) else value


FIXED = {"outcome", "verdict", "mode", "stage", "counts"}


def whole_record() -> dict:
    """Return a record in which every field there is holds something."""
    operation = {"kind": "make_dir", "text": "create a", "before": "nothing", "after": "a folder"}
    told = {"before": "gone", "outcome": "failed", "what": "gone", "why": "who knows"}
    attempts = [
        {"recovery": "mend", "verdict": verdict, "operations": [operation], "seconds": 2.0,
         "bytes_fetched": 5, "error": "no", "history": "worked", "recheck": told, "put_back": True}
        for verdict in ("healed", "not healed", "planned", "refused")
    ]  # fmt: skip
    found = [
        a_finding(f"x.{outcome}", outcome, what="w", why="y", next="n", failure_id="f",
                  category="system", blocked_by="x.failed", attempts=copy.deepcopy(attempts),
                  facts={"a": "b", "c_bytes": 10**30, "d_seconds": math.inf, "e": ["f", {"g": "h"}]},
                  **SECONDS)
        for outcome in OUTCOMES
    ]  # fmt: skip
    record = a_record(found, exit_code=1, target_python="p", resources=copy.deepcopy(RESOURCES))
    record["environment"] |= {
        "undo_command": "undo", "undo_until": "then", "notes": ["note"], "next_command": "next",
        "inventory": {
            "hash": "a", "system": "s", "python": "p", "driver": "b", "gpus": ["c"],
            "memory_bytes": 5, "packages": {"d": "e"}, "files": {"f": 6},
        },
    }  # fmt: skip
    return record


@pytest.mark.parametrize("length", [1, 10 * 2**20], ids=["hostile", "hostile and ten megabytes"])
def test_no_field_of_a_record_can_do_or_break_anything(length, chromium, tmp_path):
    evil = EVIL + "A" * (length - 1)
    record = poisoned(whole_record(), evil)
    record["findings"] = record["findings"][:: 1 if length == 1 else 3]  # large pages take seconds
    for finding in record["findings"]:
        finding["facts"] = {evil: evil, f"{evil}_bytes": 10**30, f"{evil}_seconds": math.inf}
    html = rooms.load("reports", "html")
    texts = [html.render(record)] + [under_pytest_html(html, record)] * (length == 1)
    for text in texts:
        path = tmp_path / "evil.html"
        path.write_text(text, encoding="utf-8")
        assert len(text) < 1_500_000
        assert not re.search("[\x00-\x08\x0b-\x1f\u202e\u2066\ud800-\udfff]", text)
        with chromium.page(path) as page:
            assert page.complaints() == []
            assert page.run("document.querySelectorAll('img, [onload], [onerror]').length") == 0
            page.run("document.querySelectorAll('details').forEach(each => each.open = true)")
            assert page.run("document.documentElement.scrollWidth") <= 1000
            page.run(f"{SEARCH}.value = 'onerror'; {SEARCH}.form.requestSubmit()")
            assert page.run(STATUS) == "{0} of {0} findings shown.".format(len(record["findings"]))


def under_pytest_html(html, record) -> str:
    below = (
        b"<!DOCTYPE html><html><head><title>x</title></head><body><footer></footer></body></html>"
    )
    return b"".join(html.on_top_of(below, record)).decode()


def test_a_record_of_an_older_version_has_no_timeline_and_no_charts():
    page = rendered([a_finding()])
    assert "Where the time went" not in page
    assert "The machine meanwhile" not in page


def test_the_inventory_is_shown_in_words():
    record = a_record([])
    record["environment"]["inventory"] = {
        "hash": "ab", "system": "Linux 6.1", "python": "3.11.7", "driver": "550.54",
        "gpus": ["NVIDIA RTX 4090", "NVIDIA T4"], "memory_bytes": 2**36,
        "packages": {"torch": "2.4.0", "numpy": "1.26"}, "files": {"model/a.bin": 1234567},
    }  # fmt: skip
    text = words(rooms.load("reports", "html").render(record))
    assert "Python of the app 3.11.7 Driver 550.54 GPU NVIDIA RTX 4090; NVIDIA T4" in text
    assert "Memory 64.0 GiB" in text
    assert "Packages (2) numpy 1.26 torch 2.4.0 Files (1) model/a.bin 1,234,567 bytes" in text
