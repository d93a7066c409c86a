"""The children of the chaos run: started with limits, killed or held, and found again."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil
from chaos_place import Place
from sample_support import pip_settings

CHECKOUT = Path(__file__).resolve().parents[1]
DEADLINE_SECONDS = 240.0
_MARK = "MODELMEDIC_CHAOS"
_GONE_SECONDS = 20.0
# Between two tries of a source that is down lie 12 s: a fiftieth of it, so that cycles are many.
_SHORT_WAITS = (
    "import sys, time, types; from modelmedic import patience; patience.time = "
    "types.SimpleNamespace(monotonic=time.monotonic, sleep=lambda s: time.sleep(s / 50)); "
    "from modelmedic.cli import main; sys.exit(main(sys.argv[1:]))"
)


@dataclass(frozen=True, slots=True)
class Ended:
    """How a child ended: exit code, or minus its signal; "late" when it had to be ended."""

    code: int
    out: str
    seconds: float
    is_late: bool = False


def command_of(place: Place, command: str, is_deep: bool) -> list[str]:
    """Return what a person would type, as a list."""
    where = [f"--profile={place.profile}", f"--install-dir={place.root}"]
    if command == "install":
        order = str(place.folder / "order.json")
        return [sys.executable, "-m", "sample_installer", order, "--reliable"]
    run = [sys.executable, "-c", _SHORT_WAITS, command, *where]
    if command == "undo":
        return run
    options = ["--stage=installed", f"--report-dir={place.report.parent}"]
    return [*run, *options, *(["--deep"] if is_deep else [])]


def environment(place: Place) -> dict[str, str]:
    """Return ours without what would steer a child elsewhere; with a mark to find it by."""
    kept = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("PYTEST_", "MODELMEDIC_", "PIP_", "PYTHON", "HF_"))
        and "proxy" not in key.lower()
    }
    return kept | {
        "PYTHONPATH": os.pathsep.join(
            [str(CHECKOUT / "src"), str(CHECKOUT / "tests"), str(place.folder / "packages")]
        ),
        "PIP_CONFIG_FILE": str(pip_settings()),
        "PYTHONDONTWRITEBYTECODE": "1",
        "MODELMEDIC_STATE_DIR": str(place.state),
        "TMPDIR": str(place.temp),
        "HOME": str(place.folder),
        _MARK: str(os.getpid()),
    }


def run(
    place: Place,
    argv: list[str],
    *,
    process: str = "",
    moment_seconds: float = 0.0,
    limit: Callable[[], None] | None = None,
) -> Ended:
    """Run a child to its end; at a moment kill it, or hold it for a while."""
    place.report.unlink(missing_ok=True)
    began = time.monotonic()
    with (place.folder / "output").open("w+b") as output:
        child = subprocess.Popen(
            argv,
            cwd=place.folder,
            env=environment(place),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            preexec_fn=limit,  # noqa: PLW1509 - our threads hold no lock that it needs
        )
        timer = threading.Timer(moment_seconds, _meddle, (child, process)) if process else None
        is_late = False
        try:
            if timer:
                timer.start()
            child.wait(DEADLINE_SECONDS)
        except subprocess.TimeoutExpired:
            is_late = True
        finally:
            if timer:
                timer.cancel()
                timer.join()
            if child.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGKILL)
                child.wait()
        output.seek(0)
        text = output.read().decode(errors="replace")
    return Ended(child.returncode, text, time.monotonic() - began, is_late)


def _meddle(child: subprocess.Popen[bytes], process: str) -> None:
    with contextlib.suppress(ProcessLookupError):
        if process == "kill":
            child.send_signal(signal.SIGKILL)  # it alone: what it started is on its own
            return
        os.killpg(child.pid, signal.SIGSTOP)
        time.sleep(random.Random(child.pid).uniform(0.2, 1.5))
        os.killpg(child.pid, signal.SIGCONT)


def orphans(*, wait_seconds: float = _GONE_SECONDS) -> list[str]:
    """Return what is still alive of all children a while after they ended; ends those."""
    ends_at = time.monotonic() + wait_seconds
    while (found := list(_marked())) and time.monotonic() < ends_at:
        time.sleep(0.1)
    told = []
    for process in found:
        with contextlib.suppress(psutil.Error):
            told.append(f"process {process.pid}: {' '.join(process.cmdline())[:150]}")
            process.kill()
    return told


def _marked() -> list[psutil.Process]:
    ours = str(os.getpid())
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            is_child = process.pid != os.getpid() and process.environ().get(_MARK) == ours
            if is_child and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found
