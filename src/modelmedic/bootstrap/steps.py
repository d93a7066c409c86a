"""Run one step of the preparation (venv, pip) and say in words why it failed."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from modelmedic.bootstrap.variables import clean_environment
from modelmedic.errors import ModelmedicError

STOP_SECONDS = 5.0  # pip ends within one when asked; then it is killed
NEEDED_BYTES = 50_000_000  # less than this left after a failure: the disk is the cause
TAIL_LINES = 8


class Trouble(NamedTuple):
    """What a tool prints when it fails (a pattern), and what we say then."""

    pattern: str
    what: str
    why: str
    next_step: str


# The first that matches wins, so causes stand before what follows from them.
# Source: pip 23.0, 24.2 and 26.3 provoked one by one; Windows numbers from its system error codes.
TROUBLES = (
    Trouble(
        pattern=r"\[Errno (?:28|122)\]|\[WinError 112\]|No space left on device",
        what="The disk is full.",
        why="The environment takes about 250 MB beside start.py, and pip some more in the "
        "temporary folder for a while.",
        next_step="free some space, or point TMPDIR to a larger disk, and start again.",
    ),
    Trouble(
        pattern=r"CERTIFICATE_VERIFY_FAILED|SSLCertVerificationError|SSLError",
        what="The package index could not be trusted: its TLS certificate was refused.",
        why="Most often a company proxy that signs connections anew.",
        next_step="give pip that proxy's certificate, `python3 -m pip config set global.cert "
        "FILE`, and start again.",
    ),
    Trouble(
        pattern=r"\b(?:401|403|407)\b.*(?:Unauthorized|Forbidden|Authenti|[Cc]redentials)",
        what="The package index refused us: it wants credentials.",
        why="start.py never asks for passwords.",
        next_step="put them where your pip finds them (`python3 -m pip config debug` lists the "
        "places), and start again.",
    ),
    Trouble(
        pattern=r"connection broken by|NewConnectionError|ConnectTimeoutError|ReadTimeoutError"
        r"|NameResolutionError|ProxyError|Max retries exceeded|HTTP error 5\d\d",
        what="The package index could not be reached.",
        why="No internet, a proxy that is not set, or an index that is down.",
        next_step="look at `python3 -m pip config list` and the proxy settings, and start again "
        "once `python3 -m pip download pytest` works.",
    ),
    Trouble(
        pattern=r"No matching distribution found|Could not find a version that satisfies",
        what="The package index does not offer a package that is needed.",
        why="It carries only a part of the public index, wants credentials, was out of reach "
        "without pip saying so, or has no build for this Python.",
        next_step="look at `python3 -m pip config list`, or use another Python from 3.10 to "
        "3.13, and start again.",
    ),
    Trouble(
        pattern=r"\[Errno (?:13|30|1)\]|\[WinError (?:5|32)\]|Permission denied",
        what="A file of the environment could not be written.",
        why="The folder is not yours, is read-only, or (Windows) a program still runs from it.",
        next_step="end such programs, or copy the project to a folder of your own, and start "
        "again.",
    ),
)


class CannotStart(ModelmedicError):  # noqa: N818 - named for what it means
    """Something that the start needs is missing or forbidden. Exit code 4."""


class StartBroke(ModelmedicError):  # noqa: N818 - named for what it means
    """The start itself did not work, for no reason that lies with the person. Exit code 3."""


def run(command: Sequence[str], *, cwd: Path, held: int) -> str:
    """Run one step to its end and return what it printed.

    It has its own process group, so that an interruption ends all of it; and it holds our lock,
    so that after our sudden death the next start waits until it is gone.

    Raises:
        CannotStart: It failed for a reason that we know.
        StartBroke: It failed otherwise.
    """
    if sys.platform == "win32":
        step = _popen(command, cwd, creationflags=subprocess.CREATE_NEW_PROCESS_GROUP)
    else:
        step = _popen(command, cwd, start_new_session=True, pass_fds=(held,))
    try:
        output = step.communicate()[0].decode("utf-8", "replace")
    finally:
        _stop(step)
    if step.returncode:
        raise explain(command, output, free_bytes=shutil.disk_usage(cwd).free)
    return output


def explain(command: Sequence[str], output: str, *, free_bytes: int) -> ModelmedicError:
    """Return the error that says in words what a failed step printed."""
    tail = _tail(output)
    if free_bytes < NEEDED_BYTES:
        output = f"No space left on device\n{output}"  # venv hides the reason of its own child
    for trouble in TROUBLES:
        if re.search(trouble.pattern, output):
            return CannotStart(trouble.what, f"{trouble.why}\n{tail}", trouble.next_step)
    return StartBroke(
        f"A step of the preparation failed: {' '.join(command)}",
        f"It ended with:\n{tail}",
        "start again; if it fails the same way, report it with this output.",
    )


def explain_os_error(error: OSError) -> ModelmedicError:
    """Return the error that says in words what the operating system refused."""
    said = f"[Errno {error.errno}] {error.strerror}: {error.filename or ''}"
    return explain([], said, free_bytes=NEEDED_BYTES)


def _tail(output: str) -> str:
    lines = [line for line in output.splitlines() if line.strip()][-TAIL_LINES:]
    text = "\n".join(f"  | {line}" for line in lines)
    return re.sub(r"://[^/@\s]+@", "://***@", text)  # an index URL may carry a password


def _popen(command: Sequence[str], cwd: Path, **group: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # type: ignore[call-overload, no-any-return]
        command,
        cwd=cwd,
        env=clean_environment(os.environ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        **group,
    )


def _stop(step: subprocess.Popen[bytes]) -> None:
    """End a step that still runs, with its children: asked first, then made to."""
    if step.poll() is not None:
        return
    _signal(step, signal.SIGTERM)
    try:
        step.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        _signal(step, signal.SIGTERM if sys.platform == "win32" else signal.SIGKILL)
        step.wait()


def _signal(step: subprocess.Popen[bytes], number: int) -> None:
    if sys.platform == "win32":
        step.terminate()
    else:
        os.killpg(step.pid, number)
