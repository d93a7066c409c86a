"""What a run may claim at its end: signals, closing pass, left-out checks, declared failures."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import jsonschema
import pytest
from room_support import Room
from support import CHECKOUT, child_env
from test_recording_faults import SCHEMA

from modelmedic import endings
from modelmedic.facts import file_hashes
from modelmedic.healing import journal
from modelmedic.records import write_json

FOLDERS = """
IN_CLOSING = os.environ.get("MODELMEDIC_CLOSING_PASS") == "1"

def once(name):
    '''True the first time only, over all processes.'''
    try:
        os.mkdir(name)
    except FileExistsError:
        return False
    return True

def folder_is_there(context, name):
    if not (context.place / name).is_dir():
        raise Unhealthy(f"The folder {name} is missing.", subject=name)
"""


def healed(name: str) -> str:
    return (
        f'@pytest.mark.check("room.{name}", area="install")\n'
        '@pytest.mark.recover("system", using=["create_missing_folder"])\n'
        f'def test_{name}(context):\n    "It is there."\n    folder_is_there(context, "{name}")\n\n'
    )


@pytest.fixture
def room(tmp_path):
    return Room(tmp_path, host=None)


def reached(process: subprocess.Popen, path) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert process.poll() is None, process.stdout.read()
        assert time.monotonic() < deadline
        time.sleep(0.02)


# --- signals


SLOW = FOLDERS + healed("first") + (
    '@pytest.mark.check("room.slow", area="install")\n'
    '@pytest.mark.recover("system", using=["create_missing_folder"])\n'
    'def test_slow(context):\n    "It is there."\n'
    '    if (context.place / "extra").is_dir():\n'
    '        (context.state_dir / "reached").touch()\n'
    '        time.sleep(60)\n'
    '    folder_is_there(context, "extra")\n\n'
    '@pytest.mark.check("room.last", area="system")\n'
    'def test_last():\n    "Was never asked."\n'
)  # fmt: skip


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("times", [1, 2, 3])
def test_a_stopped_heal_is_never_called_healthy(room, number, times):
    process = room.start(SLOW, "--heal")
    reached(process, room.folder / "state/reached")
    for _ in range(times):
        if process.poll() is None:
            process.send_signal(number)
        time.sleep(0.01)
    out, _err = process.communicate(timeout=60)
    run = room_run(room, process, out)
    assert run.code == 2, out
    assert run.record["exit_code"] == 2
    assert run.outcomes() == {"room.first": "healed", "room.slow": "failed"}
    slow = run.record["findings"][1]
    assert [a["verdict"] for a in slow["attempts"]] == ["interrupted"]
    assert "put back" in slow["attempts"][0]["error"]
    assert not (room.folder / "install/extra").exists()
    assert (room.folder / "install/first").is_dir()
    assert journal.pending(room.folder / "state", room.folder / "install") == []
    assert "Verdict: not ready" in out
    assert "no closing pass" in out
    assert "healthy" not in out
    jsonschema.validate(run.record, SCHEMA)


def room_run(room, process, out):
    from room_support import Run

    return Run(process.returncode, out, room.folder / "report")


def test_a_run_that_was_stopped_before_anything_failed_says_so(room):
    run = room.run(
        '@pytest.mark.check("room.a", area="system")\ndef test_a(): "Holds."\n'
        '@pytest.mark.check("room.z", area="system")\n'
        'def test_z(): "Stops." ; pytest.exit("enough", returncode=0)\n'
    )
    assert run.code == 2
    assert run.record["exit_code"] == 2
    assert "Verdict: stopped before its end: 1 check judged" in run.out


def test_ctrl_c_in_the_closing_pass_ends_with_2_and_keeps_what_was_healed(room):
    checks = FOLDERS + healed("first") + (
        '@pytest.mark.check("room.slow", area="system")\n'
        'def test_slow(context):\n    "It is quick."\n'
        '    if IN_CLOSING:\n'
        '        (context.state_dir / "reached").touch()\n'
        '        time.sleep(60)\n'
    )  # fmt: skip
    process = room.start(checks, "--heal")
    reached(process, room.folder / "state/reached")
    process.send_signal(signal.SIGINT)
    out, _err = process.communicate(timeout=60)
    run = room_run(room, process, out)
    assert run.code == 2, out
    assert run.record["exit_code"] == 2
    assert "The closing pass was stopped" in out
    assert "INTERNALERROR" not in out
    assert (room.folder / "install/first").is_dir()


# --- the exit code is that of the findings


@pytest.mark.parametrize(
    ("code", "outcomes", "more", "expected"),
    [
        (0, {"passed"}, {}, 0),
        (0, {"failed"}, {}, 1),
        (0, {"unknown"}, {}, 1),
        (0, {"passed"}, {"is_incomplete": True}, 2),
        (5, set(), {"is_incomplete": True}, 2),
        (1, {"failed"}, {"is_incomplete": True}, 1),  # -x
        (1, {"passed"}, {"is_incomplete": True}, 2),  # --session-timeout
        (0, {"healed"}, {"is_stopped": True}, 2),
        (1, {"healed"}, {"is_unloadable": True}, 3),
        (1, {"failed"}, {"is_unloadable": True}, 1),
        (2, {"failed"}, {"is_unloadable": True}, 3),
        (2, {"failed"}, {"is_unloadable": True, "is_stopped": True}, 2),
    ],
)
def test_the_exit_code_of(code, outcomes, more, expected):
    assert endings.exit_code(code, outcomes, **more) == expected


def test_a_check_that_cannot_be_loaded_is_not_healed_away(room):
    (room.folder / "test_unloadable.py").write_text("import no_such_module_of_anyone\n")
    run = room.run(
        FOLDERS + healed("first"),
        "--heal", "--continue-on-collection-errors", str(room.folder / "test_unloadable.py"),
    )  # fmt: skip
    assert run.outcomes() == {"room.first": "healed"}
    assert run.code == 3, run.out
    assert "healthy" not in run.out


# --- the closing pass


def fails_in_closing(name: str, area: str, when: str) -> str:
    return (
        f'@pytest.mark.check("room.{name}", area="{area}")\n'
        f'def test_{name}(context):\n    "It holds."\n'
        f'    if IN_CLOSING and {when}:\n'
        f'        raise Unhealthy("{name} does not hold now.", "Because.", "Look.")\n\n'
    )  # fmt: skip


def test_what_fails_once_in_the_closing_pass_undoes_nothing(room):
    run = room.run(
        FOLDERS
        + healed("first")
        + fails_in_closing("flaky", "install", 'once(context.state_dir / "flaky")'),
        "--heal",
    )
    assert run.code == 0, run.out
    assert run.outcomes() == {"room.first": "healed", "room.flaky": "degraded"}
    assert "flaky does not hold now" in run.out
    assert (room.folder / "install/first").is_dir()


@pytest.mark.once
def test_what_no_undo_cures_fails_and_the_repairs_stay(room):
    run = room.run(
        FOLDERS + healed("first") + healed("second") + fails_in_closing("odd", "install", "True"),
        "--heal",
    )
    assert run.code == 1, run.out
    assert run.outcomes() == {
        "room.first": "healed", "room.second": "healed", "room.odd": "failed",
    }  # fmt: skip
    odd = run.record["findings"][2]
    assert "closing pass: odd does not hold now." in odd["what"]
    assert (odd["why"], odd["next"]) == ("Because.", "Look.")
    assert (room.folder / "install/first").is_dir()
    assert (room.folder / "install/second").is_dir()
    assert "was undone" not in run.out
    assert "Closing pass: room.odd no longer holds." in run.out


@pytest.mark.once
@pytest.mark.parametrize("area", ["network", "hardware", "system"])
def test_what_lies_outside_the_install_is_not_blamed_on_a_repair(room, area):
    run = room.run(
        FOLDERS + healed("first") + fails_in_closing("net", area, "True"), "--heal"
    )  # fmt: skip
    assert run.code == 1
    assert run.outcomes() == {"room.first": "healed", "room.net": "failed"}
    kept = journal.all_of(room.folder / "state", room.folder / "install")[0].repairs()
    assert [repair.verdict for repair in kept] == ["kept"]  # never undone, not even to try


@pytest.mark.once
def test_only_the_repair_that_broke_a_check_is_undone(room):
    broken = (
        '@pytest.mark.check("room.absent", area="install")\n'
        'def test_absent(context):\n    "It is absent."\n'
        '    if (context.place / "first").exists():\n'
        '        raise Unhealthy("first is in the way.")\n\n'
    )
    run = room.run(FOLDERS + broken + healed("first") + healed("second"), "--heal")
    assert run.code == 1
    assert run.outcomes() == {
        "room.absent": "passed", "room.first": "failed", "room.second": "healed",
    }  # fmt: skip
    assert not (room.folder / "install/first").exists()
    assert (room.folder / "install/second").is_dir()
    first = next(f for f in run.record["findings"] if f["check"] == "room.first")
    assert first["attempts"][-1]["error"] == "It broke room.absent and was undone."


def test_hashes_go_to_the_closing_pass_and_to_nobody_else(tmp_path):
    key = ("sha256", 5, 6, 7, 8, 9)
    memo = {key: file_hashes.FileHash("a.bin", "sha256", "0" * 64, 5, 0.5), ("x",): 3}
    path = tmp_path / file_hashes.NAME
    write_json(path, file_hashes.told(memo))
    assert file_hashes.recalled(path) == {key: memo[key]}
    path.chmod(0o644)  # somebody else could have read it, or had it planted so
    assert file_hashes.recalled(path) == {}
    path.chmod(0o600)
    for text in ("", "[", "{}", "[3]", '[{"key": 1}]', '[{"key": [1], "odd": 2}]'):
        path.write_text(text)
        assert file_hashes.recalled(path) == {}
    assert file_hashes.recalled(tmp_path / "none") == {}


def test_the_closing_pass_of_a_deep_run_reads_no_file_again(room):
    """The second process finds the hash there, so it would believe a wrong one, too."""
    checks = FOLDERS + healed("first") + (
        'from modelmedic.facts import file_hashes\n'
        '@pytest.mark.check("room.hash", area="weights")\n'
        'def test_hash(context, facts):\n    "It is whole."\n'
        '    if IN_CLOSING: file_hashes._digest = None\n'
        '    assert facts.get(file_hashes.read_sha256, "file.bin").size_bytes == 5000\n'
    )  # fmt: skip
    (room.folder / "install").mkdir()
    (room.folder / "install/file.bin").write_bytes(b"x" * 5000)
    run = room.run(checks, "--heal", "--deep")
    assert run.outcomes() == {"room.first": "healed", "room.hash": "passed"}, run.out
    assert run.code == 0


# --- what was left out, or declared away


@pytest.mark.once
def test_listing_puts_nothing_in_order(room):
    process = room.start(SLOW, "--heal")
    reached(process, room.folder / "state/reached")
    process.kill()
    process.communicate()
    pending = journal.pending(room.folder / "state", room.folder / "install")
    assert len(pending) == 1
    for option in ("--co", "--setup-plan", "--setup-only"):
        room.run(SLOW, "--heal", option)
        assert (room.folder / "install/extra").is_dir()
        assert len(journal.pending(room.folder / "state", room.folder / "install")) == 1


def checks_of_the_room(room, *options):
    install, reports = room.folder / "demo", room.folder / "report"
    return subprocess.run(
        [sys.executable, "-m", "modelmedic", "check", "--profile=demo", "--offline",
         f"--install-dir={install}", f"--report-dir={reports}", *options],
        cwd=room.folder, env=room.env() | child_env(PYTHONPATH=str(CHECKOUT / "src")),
        capture_output=True, text=True, check=False, timeout=100,
    )  # fmt: skip


@pytest.mark.parametrize("options", [["-k", "clock"], ["--ignore", str(CHECKOUT / "checks/test_disk.py")]])  # fmt: skip
def test_a_part_of_the_checks_is_not_the_whole_health(room, options):
    done = checks_of_the_room(room, *options)
    assert "what was chosen holds; the other checks were left out" in done.stdout or (
        "not ready" in done.stdout
    )
    assert "can take the model" not in done.stdout
    assert "is healthy" not in done.stdout


def test_the_command_hands_out_its_checks_to_workers(room):
    done = checks_of_the_room(room, "-n2")
    assert done.returncode in {0, 1}, done.stdout
    assert "nothing was checked" not in done.stdout
    assert "results-table" in (room.folder / "report/report.html").read_text()


@pytest.mark.parametrize(
    "declared",
    [
        '@pytest.mark.xfail(reason="known")\n',
        '@pytest.mark.xfail(run=False, reason="known")\n',
        "",
    ],
    ids=["marker", "marker-not-run", "inside"],
)
def test_no_failure_can_be_declared_expected(room, declared):
    inside = "" if declared else '    pytest.xfail("known")\n'
    run = room.run(
        f'{declared}@pytest.mark.check("room.x", area="system")\n'
        f'def test_x():\n    "It holds."\n{inside}    raise Unhealthy("It does not.")\n'
    )
    assert run.code == 1, run.out
    assert run.outcomes()["room.x"] in {"failed", "unknown"}


@pytest.mark.parametrize("plugin", ["terminal", "metadata", "html", "cacheprovider", "junitxml"])
def test_plugins_can_be_left_out(room, plugin):
    run = room.run('@pytest.mark.check("room.a", area="system")\ndef test_a(): "Holds."\n',
                   "-p", f"no:{plugin}")  # fmt: skip
    assert run.code == 0, run.out
    assert "INTERNALERROR" not in run.out
    assert "It holds" in run.page or "room.a" in run.page
