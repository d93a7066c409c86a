"""The engine when the disk, the journal, the lock or another run is in the way."""

from __future__ import annotations

import dataclasses
import json
import os
import signal

import pytest
from engine_support import engine_for, install, later_engine, plan_of, snapshot, was  # noqa: F401
from support import make_context

from modelmedic.errors import CannotTell, RecoveryFailed, RecoveryRefused
from modelmedic.healing import guards, lock
from modelmedic.healing import journal as journals
from modelmedic.healing.engine import undo_run
from modelmedic.healing.journal import Journal
from modelmedic.operations import durable
from modelmedic.operations.kinds import MakeDir, ReplaceFile
from modelmedic.profile.model import ConfigFile, ConfigKey
from modelmedic.strategies import configs

resource = pytest.importorskip("resource", reason="POSIX only")


@pytest.fixture
def small_files():
    """A disk that is full after 4 KiB of a file, as far as this process can tell."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    heard = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, heard)


def test_a_part_of_the_bytes_is_never_taken_for_all(small_files, tmp_path):
    with (tmp_path / "a").open("wb") as stream, pytest.raises(OSError, match="too large"):
        durable.write_all(stream.fileno(), b"x" * 10_000)


def test_a_short_write_goes_on(tmp_path, monkeypatch):
    real = os.write
    monkeypatch.setattr(os, "write", lambda handle, data: real(handle, bytes(data)[:3]))
    with (tmp_path / "a").open("wb") as stream:
        durable.write_all(stream.fileno(), b"0123456789")
    assert (tmp_path / "a").read_bytes() == b"0123456789"


def test_a_file_that_does_not_fit_leaves_the_old_one(install, small_files):  # noqa: F811
    engine = engine_for(install)
    before = snapshot(install)
    content = "x" * 10_000
    engine.journal.path.parent.mkdir(parents=True)
    with engine.locked(), pytest.raises((RecoveryFailed, RecoveryRefused)):
        engine.apply(plan_of(ReplaceFile("settings.json", content, was(install, "settings.json"))))
    assert snapshot(install) == before


def test_a_journal_that_cannot_be_written_touches_nothing(install, small_files):  # noqa: F811
    engine = engine_for(install)
    before = snapshot(install)
    journal = engine.journal
    journal.add("open", filler="x" * 3900)
    length = journal.size_bytes()
    with engine.locked(), pytest.raises(RecoveryRefused, match="nothing was touched"):
        engine.apply(plan_of(MakeDir("outputs"), MakeDir("more")))
    assert snapshot(install) == before
    assert journal.path.read_bytes()[length:].count(b"before") == 0
    for line in journal.path.read_bytes().split(b"\n"):  # no half of a line
        assert not line or json.loads(line)


def test_undo_goes_on_when_the_journal_cannot_be_written(install, monkeypatch):  # noqa: F811
    engine = engine_for(install)
    before = snapshot(install)
    plan = plan_of(
        MakeDir("outputs"), ReplaceFile("settings.json", "{}", was(install, "settings.json"))
    )
    with engine.locked():
        applied = engine.apply(plan)

        def full(*_args, **_kwargs):
            raise RecoveryRefused("The journal cannot be written: no space.")

        monkeypatch.setattr(Journal, "add", full)
        assert "could not be written down" in engine.undo(applied)
    assert snapshot(install) == before


def test_a_folder_in_use_stays_and_counts_as_undone(install):  # noqa: F811
    engine = engine_for(install)
    with engine.locked():
        engine.keep(engine.apply(plan_of(MakeDir("outputs"))))
    (install / "outputs/film.mp4").write_bytes(b"mine")
    assert len(undo_run(engine.context.state_dir, install)) == 1
    assert (install / "outputs/film.mp4").read_bytes() == b"mine"
    assert undo_run(engine.context.state_dir, install) == []


def test_another_runs_repair_is_seen(install):  # noqa: F811
    first, second = engine_for(install), later_engine(install)
    before = first.generation()
    with second.locked():
        second.keep(second.apply(plan_of(MakeDir("outputs"))))
    assert first.generation() > before


def test_journals_that_cannot_be_listed_are_not_nothing(install):  # noqa: F811
    context = make_context(install)
    folder = journals.folder(context.state_dir, install)
    assert journals.all_of(context.state_dir, install) == []
    folder.parent.mkdir(parents=True)
    folder.write_text("no folder")
    with pytest.raises(CannotTell, match="cannot be read"):
        journals.all_of(context.state_dir, install)


def test_lines_of_another_version_are_passed_over(tmp_path):
    journal = Journal(tmp_path / "run.jsonl")
    journal.add("repair", repair="r", recovery="fix", check="a.b")
    for odd in ({"event": "before", "repair": "r"}, {"event": "verdict", "repair": "r"},
                {"event": "repair"}, {"event": 5, "repair": []}):  # fmt: skip
        with journal.path.open("a") as stream:
            stream.write(json.dumps(odd) + "\n")
    journal.add("before", repair="r", seq=0, operation={}, note={})
    repair = journal.repairs()[0]
    assert (repair.recovery, repair.verdict) == ("fix", "")
    assert [step.seq for step in repair.steps] == [-1, 0]  # the odd one is refused when undone


def test_a_state_folder_that_is_a_file_is_refused_in_words(install, tmp_path):  # noqa: F811
    state = tmp_path / "state-file"
    state.write_text("")
    with pytest.raises(RecoveryRefused, match="cannot be locked"), lock.held(state, install):
        pass


def test_undo_as_root_in_the_folder_of_another_user_is_refused(install, monkeypatch):  # noqa: F811
    engine = engine_for(install)
    with engine.locked():
        engine.keep(engine.apply(plan_of(MakeDir("outputs"))))

    def refuse(_install, _operations=()):
        raise RecoveryRefused("As root, nothing was touched.")

    monkeypatch.setattr(guards, "refuse_as_root", refuse)
    with pytest.raises(RecoveryRefused, match="As root"):
        undo_run(engine.context.state_dir, install)
    assert (install / "outputs").is_dir()


# --- settings that we could only write wrong


def config_of(install, name, text):  # noqa: F811
    """Return a context whose one settings file holds ``text``, without its known key."""
    context = make_context(install)
    key = ConfigKey("steps", "integer", has_default=True, default=3)
    config = ConfigFile(name, name.rpartition(".")[2], keys=(key,))
    profile = dataclasses.replace(context.profile, configs=(config,))
    (install / name).write_bytes(text)
    return dataclasses.replace(context, profile=profile)


def test_values_we_could_only_write_wrong_are_left_alone(install):  # noqa: F811
    text = '{"title": "Müller"}'.encode("latin-1")
    context = config_of(install, "a.json", text)
    with pytest.raises(RecoveryRefused, match="was not rewritten"):
        list(configs.plan_restore(context, "a.json"))
    assert (install / "a.json").read_bytes() == text


@pytest.mark.parametrize(
    ("name", "text", "right"),
    [
        ("a.toml", "when = 2026-01-01\n", "when = 2026-01-01\nsteps = 3\n"),
        ("a.toml", "big = inf\n", "big = inf\nsteps = 3\n"),
        ("a.json", '{"title": "\\ud800"}', '{"title": "\\ud800", "steps": 3}'),
    ],
)
def test_values_that_are_hard_to_write_stay_letter_for_letter(install, name, text, right):  # noqa: F811
    context = config_of(install, name, text.encode())
    (operation,) = configs.plan_restore(context, name)
    assert operation.content == right
