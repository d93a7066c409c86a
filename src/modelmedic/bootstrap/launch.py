"""From the person's command line to pytest in the prepared environment."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from modelmedic import caller
from modelmedic.bootstrap import arguments as given
from modelmedic.bootstrap import environment as environments
from modelmedic.bootstrap.variables import clean_environment
from modelmedic.errors import ModelmedicError

if TYPE_CHECKING:
    from types import FrameType

INTERRUPTED, OWN_FAULT, CANNOT_START = 2, 3, 4


def main(arguments: Sequence[str], *, root: Path) -> int:
    """Prepare the environment of the checkout at ``root`` and run pytest; return the exit code."""
    try:
        request = given.read(arguments, cwd=Path.cwd(), root=root)
        groups = ["dev"] if request.wants_tests else []
        with _ended_by_signals():
            prepared = environments.prepare(root, groups=groups, tell=say)
        return run_pytest(prepared, request.arguments, root=root)
    except KeyboardInterrupt:
        say("interrupted. What was half made will not be used: the next start makes it anew.")
        return INTERRUPTED
    except (ModelmedicError, OSError) as error:
        from modelmedic.bootstrap import steps

        told = steps.explain_os_error(error) if isinstance(error, OSError) else error
        say("\n".join(filter(None, (told.what, told.why, f"Next: {told.next_step}"))))
        return OWN_FAULT if isinstance(told, steps.StartBroke) else CANNOT_START


def say(text: str) -> None:
    """Print to standard error: standard output belongs to pytest."""
    print(f"start.py: {text}", file=sys.stderr, flush=True)  # noqa: T201 - there is no logger yet


def run_pytest(prepared: environments.Environment, arguments: Sequence[str], *, root: Path) -> int:
    """Run pytest in the person's current folder, isolated from what lies there."""
    project = ["-c", str(root / "pyproject.toml"), "--rootdir", str(root)]
    # By -p our options are known before pytest looks for conftest files; a value is then no path.
    project += ["-p", "modelmedic.entry"]
    command = [str(prepared.python), "-I", "-m", "pytest", *project, *arguments]
    environ = clean_environment(os.environ) | caller.put_aside(os.environ)
    environ["MODELMEDIC_INVOKED_AS"] = invoked_as(sys.orig_argv, sys.argv[0])
    sys.stdout.flush()
    if sys.platform == "win32":
        return _wait_for(command, environ)
    return _become(command, environ, lock=prepared.lock)


def invoked_as(argv: Sequence[str], script: str) -> str:
    """Return how the person started us, as a command that can be typed again.

    Args:
        argv: The interpreter's whole command line.
        script: The path of ``start.py`` as it was given.
    """
    import shlex
    import shutil

    name = Path(argv[0]).name
    found = shutil.which(name)
    same = found is not None and Path(found).resolve() == Path(sys.executable).resolve()
    python = name if same else argv[0]
    if sys.platform == "win32":
        python = "py" if shutil.which("py") else python
        return " ".join(f'"{part}"' if " " in part else part for part in (python, script))
    return shlex.join([python, script])


def _become(command: Sequence[str], environ: dict[str, str], *, lock: int) -> NoReturn:
    """Turn into pytest: signals and the exit code are its own. The lock goes along, shared."""
    os.set_inheritable(lock, True)
    os.execve(command[0], list(command), environ)  # noqa: S606 - there is no shell in it


def _wait_for(command: Sequence[str], environ: dict[str, str]) -> int:
    """Wait for pytest as a child; Ctrl-C reaches both of us, and pytest decides what it means."""
    import subprocess

    with subprocess.Popen(command, env=environ) as child:
        while True:
            with contextlib.suppress(KeyboardInterrupt):
                return child.wait()


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Let a terminal that closes and a polite kill clean up like Ctrl-C does."""

    def interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt

    names = [name for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    numbers = [getattr(signal, name) for name in names]
    ours = [number for number in numbers if signal.getsignal(number) == signal.SIG_DFL]
    for number in ours:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)
