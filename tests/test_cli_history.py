"""The history command: what it prints is masked, one line each, and safe for a terminal."""

from __future__ import annotations

import contextlib
import io
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from history_support import BEGIN, OTHER, finding, inventory, record, rows, written
from support import CHECKOUT, child_env

from modelmedic import cli
from modelmedic.history import database, queries
from modelmedic.history.store import History

EVIL = "<b>\x1b[2J\x1b]0;x\x07\n\u202egpj.exe" + "A" * 100_000


@pytest.fixture
def state(tmp_path, monkeypatch):
    monkeypatch.setenv("MODELMEDIC_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setattr("sys.stdin", io.StringIO())
    return tmp_path / "state"


@pytest.fixture
def history(state, capsys):
    def run(*words, code=0):
        assert cli.main(["history", *words]) == code
        told = capsys.readouterr()
        return told.out + told.err

    return run


def store(state, *records, **values):
    with History.open(state) as history:
        for each in records:
            history.store(each, **values)


def test_without_a_run_it_says_how_to_get_one_and_makes_no_file(state, history):
    assert "modelmedic check" in history()
    assert not state.exists()


def test_runs_are_listed_with_their_verdict_the_newest_first(state, history):
    store(state, record({"x.one": "passed"}, number=1), record({"x.one": "failed"}, number=2))
    store(state, record({"x.one": "passed"}, number=3, exit_code=None), is_own=True)
    lines = history().splitlines()
    assert lines[0].split() == ["run", "when", "profile", "machine", "verdict"]
    assert [line.split()[0][-1] for line in lines[1:]] == ["3", "2", "1"]
    assert lines[1].endswith("It was killed, or has not ended.")
    assert lines[2].endswith(f"demo     {OTHER}  Not ready: 1 cause.")
    assert lines[3].endswith("The install is healthy.")
    assert len(history("--limit", "1").splitlines()) == 2
    assert len(history("--machine", OTHER).splitlines()) == 3
    assert "No machine is called nobody" in history("--machine", "nobody", code=1)


def test_a_run_is_shown_with_what_is_wrong_first(state, history):
    found = [
        finding("x.waits", "blocked", blocked_by="x.bad"),
        finding("x.fine", "passed"),
        finding("x.bad", "failed", what="Broken.", why="Dust."),
    ]
    store(state, record(found=found))
    text = history("show", record()["run_id"])
    assert text.index("failed: [x.bad] Broken. Dust.") < text.index("blocked: [x.waits]")
    assert "x.fine" not in text


def test_what_changed_is_printed_by_kind(state, history):
    store(
        state,
        record({"x.one": "passed"}, kept=inventory(), number=1),
        record({"x.one": "failed"}, kept=inventory(driver="", files={}), number=2),
    )
    text = history("diff")
    assert "the machine:\n  driver: 550.54 -> none\n" in text
    assert "files:\n  weights/vae.pth: gone, was 1,000 bytes\n" in text
    assert "checks:\n  x.one: passed -> failed (x.one does not hold.)\n" in text
    ids = [record(number=number)["run_id"] for number in (2, 1)]
    assert "driver: none -> 550.54" in history("diff", *ids)
    assert "Nothing that is stored of them differs." in history("diff", ids[0], ids[0])
    assert "Name two runs" in history("diff", ids[0], code=4)
    assert "has no run 1999" in history("diff", "1999", ids[0], code=1)


def test_import_counts_and_names_what_it_refuses(tmp_path, state, history):
    folder = written(tmp_path / "in", record(number=1), record(number=2))
    assert "Imported: 2 new, 0 known, 0 refused." in history("import", str(folder))
    written(tmp_path / "in", record({"x.one": "failed"}, number=1))
    text = history("import", str(folder), code=1)
    assert "Imported: 0 new, 1 known, 1 refused." in text
    assert "is known with other content" in text
    assert (state / "history.db").is_file()


def test_forgetting_needs_one_thing_named_and_a_yes_for_all(state, history):
    store(state, *(record(number=number) for number in range(4)))
    assert "Name one of RUN" in history("forget", code=4)
    assert "Name one of RUN" in history("forget", "--all", "--before", "2026-01-01", code=4)
    assert "--all needs --yes" in history("forget", "--all", code=4)
    assert "it is no day" in (text := history("forget", "--before", "June", code=1)) or text
    assert "Forgotten: 1 run." in history("forget", record(number=1)["run_id"])
    assert "Forgotten: 0 runs." in history("forget", "--before", "2000-01-01")
    assert "Forgotten: 3 runs." in history("forget", "--machine", OTHER)
    store(state, record())
    assert "Forgotten: 1 run." in history("forget", "--all", "--yes")
    assert "No run is stored yet" in history()


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(("answer", "left"), [("n\n", 1), ("\n", 1), ("yes\n", 0)])
def test_on_a_terminal_all_is_asked_for(state, history, monkeypatch, answer, left):
    store(state, record())
    monkeypatch.setattr("sys.stdin", Terminal(answer))
    history("forget", "--all")
    with History.open(state, is_read_only=True) as stored:
        assert len(queries.runs(stored)) == left


def test_machines_are_listed_and_can_be_called_by_a_name(state, history):
    store(state, record())
    store(state, record(number=3), is_own=True)
    assert "is called rack 7" in history("machines", "label", "00000000b", "rack 7")
    lines = history("machines").splitlines()
    assert lines[1].split()[1:4] == ["this", "machine", "1"]
    assert lines[2].split()[:4] == [OTHER, "rack", "7", "1"]
    assert "rack 7" in history("--machine", "rack 7")
    assert "label NAME TEXT" in history("machines", "label", "x", code=4)


def test_hostile_words_stay_on_their_line_and_move_no_cursor(state, history):
    found = [finding(EVIL, what=EVIL, why=EVIL)]
    kept = inventory(packages={EVIL: EVIL[:900]})
    store(state, record({EVIL: "passed"}, profile=EVIL, kept=inventory(), install_dir=EVIL))
    store(state, record(found=found, profile=EVIL, kept=kept, number=1, install_dir=EVIL))
    with History.open(state) as stored:
        stored.label(1, EVIL)
    for words in ((), ("show", record(number=1)["run_id"]), ("diff",), ("machines",)):
        text = history(*words)
        assert "b>" in text
        assert not {c for c in text if ord(c) < 32 and c != "\n"} | (set(text) & {"\u202e", "\x9b"})
        assert not [line for line in text.splitlines() if line.startswith("gpj") or "\t" in line]
        assert max(map(len, text.splitlines())) < 3000


def test_names_of_this_machine_are_masked(state, history, monkeypatch):
    home = str(Path.home())
    store(state, record(found=[finding(what=f"{home}/models is full, hf_abcdefghijklmnop")]))
    text = history("show", record()["run_id"])
    assert "~/models is full" in text
    assert "abcdefghijklmnop" not in text


def test_a_history_that_cannot_be_read_is_no_empty_one(state, history):
    state.mkdir()
    (state / "history.db").write_bytes(b"x" * 5000)
    (state / "history.db").chmod(0o600)
    text = history(code=1)
    assert "cannot be used: file is not a database" in text
    assert "No run is stored yet" not in text
    store(state, record())
    assert list(state.glob("history.db.aside-*"))


@pytest.mark.parametrize("lock", ["EXCLUSIVE", "IMMEDIATE"])
def test_nothing_is_called_forgotten_while_another_process_holds_the_lock(
    state, history, monkeypatch, lock
):
    monkeypatch.setattr(database, "WAIT_SECONDS", 0.1)
    store(state, record())
    with contextlib.closing(sqlite3.connect(state / "history.db", isolation_level=None)) as other:
        other.execute(f"PRAGMA locking_mode = {'EXCLUSIVE' if lock == 'EXCLUSIVE' else 'NORMAL'}")
        other.execute(f"BEGIN {lock}")
        text = history("forget", "--all", "--yes", code=1)
    assert "database is locked" in text
    assert "Forgotten" not in text
    assert OTHER in history("--limit", "9" * 30)  # nothing is gone, and no number is too large


@pytest.mark.once
def test_it_works_in_a_pipe_that_closes_and_in_a_terminal_of_few_letters(state):
    store(state, *(record(number=n, profile="grün\u4e2d") for n in range(30)))
    env = child_env(
        PYTHONPATH=str(CHECKOUT / "src"), MODELMEDIC_STATE_DIR=str(state), PYTHONIOENCODING="ascii"
    )
    argv = [sys.executable, "-m", "modelmedic", "history"]
    with subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        child.stdout.close()
        assert child.wait(60) == 0
        assert child.stderr.read() == b""
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=True, timeout=60)
    assert "gr\\xfcn\\u4e2d" in done.stdout
    assert done.stdout.count("\n") == 31


def test_the_day_of_before_is_utc(state, history):
    store(state, record(at=1_790_035_199, number=1), record(at=1_790_035_200, number=2))
    history("forget", "--before", "2026-09-22")
    with History.open(state, is_read_only=True) as stored:
        assert rows(stored, "SELECT started_at FROM run") == [(1_790_035_200,)]
    assert BEGIN < 1_790_035_200
