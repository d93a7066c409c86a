"""What was planted comes out nowhere: not in a report, not on the screen, not in a log."""

from __future__ import annotations

import html
import io
import json
import random
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from planted.clean import CLEAN
from planted.corpus import planted
from room_support import HOST, USER, Room
from support import CHECKOUT, child_env

from modelmedic import ReliabilityManager, leaks
from modelmedic.masking import MASK, Masker
from modelmedic.masking.table import RULES, Table
from modelmedic.reliability.capture import ErrorCapture
from modelmedic.reliability.error_log import ErrorLog

CORPUS = planted()
PLAIN = Masker()
GRAM = 10  # letters of a secret that are looked for: no other text has them by chance


def found_in(text: str, corpus: Iterable = CORPUS) -> list[str]:
    """Return which secrets are in a text, by their last letters in each form."""
    grams = {text[at : at + GRAM] for at in range(len(text) - GRAM + 1)}
    return [one.id for one in corpus if any(needle[-GRAM:] in grams for needle in one.needles)]


def test_the_corpus_is_large_and_the_same_each_time():
    assert len(CORPUS) >= 200
    assert len({one.kind for one in CORPUS}) >= 30
    assert [one.text for one in planted()] == [one.text for one in CORPUS]
    assert all(found_in(one.text, [one]) or "base64" in one.id for one in CORPUS if
               one.kind not in {"basic", "docker", "kubernetes"})  # fmt: skip


def test_no_planted_secret_is_left_by_the_masker():
    left = {one.id: masked for one in CORPUS if found_in(masked := PLAIN.mask(one.text), [one])}
    assert left == {}


def test_no_planted_secret_is_left_where_all_of_them_are_one_text():
    order = random.Random(7)  # the same order each time
    shuffled = CORPUS[:]
    order.shuffle(shuffled)
    assert found_in(PLAIN.mask("\n\n".join(one.text for one in shuffled))) == []


def test_masked_texts_stay_as_they_are_when_they_are_masked_again():
    once = [PLAIN.mask(one.text) for one in CORPUS]
    assert [PLAIN.mask(text) for text in once] == once


def test_the_second_engine_finds_nothing_in_what_the_first_one_masked():
    known = leaks.Known()
    left = {
        one.id: found for one in CORPUS if (found := leaks.in_text(PLAIN.mask(one.text), known))
    }
    assert left == {}


def test_the_words_before_a_rule_never_keep_it_from_finding_something():
    table = Table.of(lambda category, _value: f"<{category}>", is_for_support=True)
    for one in CORPUS:
        lower = one.text.lower()
        with_all = one.text
        for rule in table.rules:
            if len(one.text) < rule.least or not any(word in lower for word in rule.words):
                assert rule.apply(with_all) == with_all, (rule.name, one.text)


@pytest.mark.parametrize("text", CLEAN)
def test_versions_sizes_hashes_and_codes_survive_every_masker(text, tmp_path):
    support = Masker((), (), (), Masker.for_support(tmp_path / "state").stand_ins)
    assert PLAIN.mask(text) == text
    assert support.mask(text) == text
    assert leaks.in_text(text, leaks.Known()) == []


PIECES = [
    *("password", "token", "=", ":", " ", "\n", "'", '"', "\\", "***", "://", "@", "?", "&sig="),
    *("--prompt", "prompt: ", "a", "Bearer ", "Cookie: ", "{", "}", ",", ";", "<", ">", "hf_"),
    *("Ab1Cd2Ef3Gh4Ij5", "-----BEGIN PRIVATE KEY-----", "/home/", "workflow", "value", "name"),
    *("secret_key", "\\n", "%3A%2F%2F", "&quot;", "login x ", "10.0.0.7", "Steps: 5", "parameters"),
]  # fmt: skip


@given(st.lists(st.sampled_from(PIECES), max_size=14).map("".join))
@example("prompt: hf_parameters")  # one rule leaves what another one knows
@example("password=>Cookie: >/home/")
def test_masking_twice_is_masking_once_whatever_the_pieces(text):
    once = PLAIN.mask(text)
    assert PLAIN.mask(once) == once


LONG = {
    "one word": "a", "words of names": "token ", "names": "token=", "addresses": "://",
    "logins": "x://a:b", "hyphens": "a-", "quotation marks": '"', "backslashes": "\\",
    "keys": "-----BEGIN PRIVATE KEY-----", "ends of keys": "-----END PRIVATE KEY-----",
    "base64": "QUJD", "JWT": "eyJ-", "spaces after a name": "password" + " " * 60,
    "open quotation": 'password="', "braces": 'workflow={"a":', "prompts": "prompt:",
    "parameters": "parameters:", "cookies": "cookie:", "options": "--token", "homes": "/home/",
    "numbers": "1.2.3.4.", "colons": "ab:", "mails": "a@", "elements": "<password>",
    "entries": "name: x_token value", "netrc": "login x ", "query": "?sig=", "steps": "steps:",
    "beginnings of tokens": "hf_", "objects": "data:\n a: b\n", "colours": "\x1b[1m", "zero bytes": "a\0",
    "W&B": "wandb a ",
}  # fmt: skip


@pytest.mark.once
@pytest.mark.parametrize("piece", LONG.values(), ids=LONG)
def test_the_time_for_a_line_grows_as_its_length_does(piece, tmp_path):
    support = Masker((), (), (), Masker.for_support(tmp_path / "state").stand_ins)

    def seconds(letters: int, look: Callable[[str], object]) -> float:
        text = piece * (letters // len(piece))
        begun = time.process_time()
        look(text)
        return time.process_time() - begun

    for look in (support.mask, lambda text: leaks.in_text(text, leaks.Known())):
        short, long = (seconds(size, look) for size in (5_000, 20_000))
        assert long < 12 * short + 0.05, f"4 times the text, {long / short:.1f} times the time"


# --- what real runs leave behind

CHECKS = '''
import json
from pathlib import Path
TEXTS = json.loads(Path(__file__).with_name("planted.json").read_text("utf-8"))
GROUPS = [TEXTS[at:at + 40] for at in range(0, len(TEXTS), 40)]

@pytest.mark.check("room.told", area="system")
@pytest.mark.parametrize("number", range(len(GROUPS)))
def test_told(number):
    """It says what it found."""
    group = GROUPS[number]
    for text in group:
        print(text)
        logging.getLogger("x").warning(text)
    try:
        raise OSError("\\n".join(group))
    except OSError as error:
        raise Unhealthy("\\n".join(group[:10]), "\\n".join(group[10:20]), "\\n".join(group[20:30]),
                        evidence={f"fact {n}": text for n, text in enumerate(group)}) from error

@pytest.mark.check("room.crash", area="system")
@pytest.mark.parametrize("number", range(len(GROUPS)))
def test_crash(number):
    """It does not crash."""
    raise RuntimeError("\\n".join(GROUPS[number]))

@pytest.mark.check("room.unseen", area="system")
@pytest.mark.parametrize("number", range(0, len(GROUPS), 3))
def test_unseen(number):
    """It can be seen."""
    raise CannotTell("\\n".join(GROUPS[number]))

@pytest.mark.check("room.skipped", area="system")
@pytest.mark.parametrize("number", range(1, len(GROUPS), 3))
def test_skipped(number):
    """It applies."""
    pytest.skip("\\n".join(GROUPS[number]))

@pytest.mark.check("room.loss", area="system")
@pytest.mark.parametrize("number", range(2, len(GROUPS), 3))
def test_loss(degraded, number):
    """It is quick."""
    degraded(*("\\n".join(GROUPS[number][at::3]) for at in range(3)))

@pytest.mark.check("room.named", area="system")
@pytest.mark.parametrize("name", [text for text in TEXTS if "\\n" not in text][::25])
def test_named(name):
    """It holds for each."""
    raise Unhealthy("It does not hold.", "Most often.", "Look.", subject=name)
'''


@dataclass(frozen=True, slots=True)
class Ended:
    """A run that ended: its screen, its report folder, its state folder."""

    screen: str
    report: Path
    state: Path


def files_below(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def reports(ended: Ended) -> dict[str, bytes]:
    return files_below(ended.report)


def screen(ended: Ended) -> dict[str, bytes]:
    return {"screen": ended.screen.encode()}


def state(ended: Ended) -> dict[str, bytes]:
    return files_below(ended.state)


def said(ended: Ended, *arguments: str) -> bytes:
    """Return what a command says of the run, or of its state folder."""
    env = child_env(MODELMEDIC_STATE_DIR=str(ended.state), USER=USER, COLUMNS="200")
    done = subprocess.run(
        [sys.executable, "-m", "modelmedic", *arguments],
        env=env, capture_output=True, timeout=100, check=False,
    )  # fmt: skip
    assert b"Traceback" not in done.stderr
    assert done.returncode in {0, 1}, done.stderr
    assert (done.stdout + done.stderr).strip()
    return done.stdout + done.stderr


def dashboard(ended: Ended) -> dict[str, bytes]:
    pages = ended.report.parent / "pages"
    told = said(ended, "dashboard", "--import", str(ended.report), "--output", str(pages))
    assert (pages / "index.html").is_file()
    return {"told": told, **files_below(pages)}


def history(ended: Ended) -> dict[str, bytes]:
    said(ended, "history", "import", str(ended.report))
    run = json.loads((ended.report / "report.json").read_text("utf-8"))["run_id"]
    verbs = {"list": [], "report": ["report"], "report as JSON": ["report", "--json"],
             "trends": ["trends", "--json"], "diff": ["diff", run, run], "show": ["show", run],
             "machines": ["machines"]}  # fmt: skip
    verbs |= {f: ["metrics", "--format", f] for f in ("json", "csv", "prometheus", "junit")}
    return {name: said(ended, "history", *verb) for name, verb in verbs.items()}


def bundle(ended: Ended) -> dict[str, bytes]:
    file = ended.report.parent / "bundle.zip"
    told = said(ended, "bundle", str(ended.report), "--yes", "--output", str(file))
    shown = said(ended, "bundle", "show", str(file))
    return {"told": told, "shown": shown, "bundle": file.read_bytes()}


def issue(ended: Ended) -> dict[str, bytes]:
    return {"issue": said(ended, "bundle", str(ended.report), "--issue")}


def monitor(ended: Ended) -> dict[str, bytes]:
    """Return what the monitor leaves of a log that grows while it looks."""
    log = ended.report.parent / "app.log"
    log.write_text("begun\n", encoding="utf-8")
    lines = [f"ERROR CUDA out of memory: {line}" for one in CORPUS for line in one.text.split("\n")]
    grows = (
        "import sys, time; time.sleep(2); "
        "open(sys.argv[1], 'a').write(open(sys.argv[2]).read()); time.sleep(3)"
    )
    place = Ended("", ended.report, ended.report.parent / "monitored")
    more = log.with_suffix(".more")
    more.write_text("\n".join(lines) + "\n", encoding="utf-8")
    told = said(place, "monitor", "--interval", "0.2", "--log", str(log), "--",
                sys.executable, "-c", grows, str(log), str(more))  # fmt: skip
    assert b"out of memory" in told
    return {"told": told, **files_below(place.state)}


# What is made of a run. A new kind of artefact gets its row: name -> what it makes, as bytes.
PRODUCERS: dict[str, Callable[[Ended], dict[str, bytes]]] = {
    "report folder": reports,
    "screen": screen,
    "state folder": state,
    "dashboard": dashboard,
    "history and metrics": history,
    "bundle": bundle,
    "issue": issue,
    "monitor": monitor,
}


def readings(data: bytes) -> Iterable[str]:
    """Yield what a reader of these bytes sees: as they are, unzipped, unescaped."""
    if data[:4] == b"PK\x03\x04":
        with zipfile.ZipFile(io.BytesIO(data)) as opened:
            for name in opened.namelist():
                yield name
                yield from readings(opened.read(name))
        return
    text = data.decode("utf-8", "replace")
    plain = html.unescape(html.unescape(text))
    yield from {text, plain, plain.replace("\\n", "\n").replace("\\", "")}


@pytest.fixture(scope="module", params=[[], ["-v", "-n2"]], ids=["alone", "verbose"])
def ended(request, tmp_path_factory):
    room = Room(tmp_path_factory.mktemp("planted") / f"of {USER}")
    room.folder.mkdir()
    texts = [one.text for one in CORPUS] + [f"/home/{USER}/x on {HOST}", f"by {USER}"]
    (room.folder / "planted.json").write_text(json.dumps(texts), encoding="utf-8")
    run = room.run(CHECKS, *request.param)
    assert run.code == 1, run.out[-2000:]
    assert run.record["counts"]["failed"] >= 30
    return Ended(run.out, run.folder, room.folder / "state")


@pytest.mark.slow
@pytest.mark.once
@pytest.mark.parametrize("producer", PRODUCERS.values(), ids=PRODUCERS)
def test_no_planted_secret_comes_out_of_a_run(ended, producer):
    made = producer(ended)
    left = {
        f"{name}: {one}" for name, data in made.items() for text in readings(data)
        for one in found_in(text)
    }  # fmt: skip
    assert left == set()
    known = leaks.Known(users=(USER,), hosts=(HOST,))
    named = [
        (name, found)
        for name, data in made.items()
        if producer is reports  # on the screen and on the machine names and paths stay
        for found in leaks.in_text(data.decode("utf-8", "replace"), known)
        if found.kind in {"user name", "host name"}
    ]
    assert named == []


@pytest.mark.once
def test_no_planted_secret_is_in_the_log_of_errors_of_an_installer(tmp_path):
    log = ErrorLog(tmp_path / "state")
    capture = ErrorCapture(level="full", log=log)
    for at in range(0, len(CORPUS) - 12, 12):
        group = [one.text for one in CORPUS[at : at + 12]]
        error = OSError(5, group[0], group[1])
        error.__cause__ = ValueError("\n".join(group))
        capture.capture(
            error, component=group[2], method=group[3], args=group, kwargs={"x": group[4]},
            phase=group[5], task=group[6], previous_errors=[ValueError(group[7])],
            recovery_attempts=[group[8]],
        )  # fmt: skip
    written = "".join(path.read_text("utf-8") for path in log.path.parent.rglob("*.jsonl"))
    assert len(written) > 10_000
    assert [one for text in readings(written.encode()) for one in found_in(text)] == []


@pytest.mark.once
def test_no_planted_secret_is_in_the_journal_of_failed_calls(tmp_path, monkeypatch):
    monkeypatch.setenv("MODELMEDIC_STATE_DIR", str(tmp_path / "state"))

    class Downloader:
        def get(self, text):
            raise ValueError(text)

    wrapped = ReliabilityManager().wrap_component(Downloader())
    for one in CORPUS[::9]:
        with pytest.raises(ValueError, match=r"."):
            wrapped.get(one.text)
    files = files_below(tmp_path / "state")
    left = {
        f"{name}: {one}" for name, data in files.items() for text in readings(data)
        for one in found_in(text)
    }  # fmt: skip
    assert left == set()


def test_the_rules_are_many_and_each_has_a_name_of_its_own():
    assert len({rule.name for rule in RULES}) == len(RULES)
    assert MASK in PLAIN.mask(CORPUS[0].text)
    assert (CHECKOUT / "docs" / "privacy.md").is_file()
