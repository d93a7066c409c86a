"""Run a program with a deadline that holds: its whole process group ends with it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from modelmedic import purity
from modelmedic.errors import CannotTell
from modelmedic.text import printable

MAX_OUTPUT_BYTES = 4 << 20  # a program that prints more is not answering our question
# A program in a loop would fill the disk with what it prints before its deadline ends it.
_MAX_PRINTED_BYTES = 64 << 20
_POLL_SECONDS = 0.05
_GRACE_SECONDS = 2.0  # a process in uninterruptible sleep survives SIGKILL: do not wait for it

Child = subprocess.Popen[bytes]  # for those who hold one that they did not start themselves


@dataclass(frozen=True, slots=True)
class Completed:
    """What a finished program left behind."""

    argv: tuple[str, ...]
    returncode: int
    stdout: str
    stderr: str
    seconds: float


def run(
    argv: Sequence[str | os.PathLike[str]],
    *,
    deadline_seconds: float,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: str = "",
    keep_bytes: int = MAX_OUTPUT_BYTES,
) -> Completed:
    """Run ``argv`` without a shell and return what it printed, whatever its exit code.

    Output goes to unnamed temporary files, so a grandchild that keeps a pipe open cannot hold us
    and a chatty program cannot fill our memory; only the first ``keep_bytes`` are kept.

    Args:
        argv: Program and arguments.
        deadline_seconds: After this the process group is killed.
        env: The whole environment; None passes ours on.
        cwd: Working folder; None means the temporary folder, so that nothing in the caller's
            current folder is picked up by the child.
        stdin: Text given to the program.
        keep_bytes: How much of its output is of interest.

    Raises:
        CannotTell: The program does not exist, may not be run, did not end in time, or printed
            without end.
        BrokenPromise: A check or probe that did not declare the program asked for it.
    """
    args = tuple(os.fspath(part) for part in argv)
    started = time.monotonic()
    with (
        purity.child(args[0]),
        tempfile.TemporaryFile() as out,
        tempfile.TemporaryFile() as err,
        tempfile.TemporaryFile() as given,
    ):
        given.write(stdin.encode())
        given.seek(0)
        process = _start(args, stdin=given, stdout=out, stderr=err, env=env, cwd=cwd)
        try:
            returncode = _wait(process, args[0], deadline_seconds, (out, err))
        except subprocess.TimeoutExpired as error:
            raise CannotTell(
                f"{args[0]} did not answer within {deadline_seconds:g} s and was stopped.",
                "A program that hangs: most often a wedged driver, a dead network drive or a "
                "virus scanner.",
            ) from error
        finally:
            _end(process)
        said, complained = _read(out, keep_bytes), _read(err, keep_bytes)
        return Completed(args, returncode, said, complained, time.monotonic() - started)


def begin(argv: Sequence[str | os.PathLike[str]]) -> subprocess.Popen[bytes]:
    """Start a helper that lives beside us and is talked to in lines; whoever begins it ends it.

    It has a process group of its own, so that Ctrl-C does not reach it, and the temporary folder
    as its working folder. What it complains of goes nowhere.

    Raises:
        CannotTell: It cannot be started.
        BrokenPromise: A check or probe that did not declare the program asked for it.
    """
    args = tuple(os.fspath(part) for part in argv)
    with purity.child(args[0]):
        return _start(
            args, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            env=None, cwd=None,
        )  # fmt: skip


def begin_for_person(argv: Sequence[str]) -> subprocess.Popen[bytes]:
    """Start the command that a person gave us: with our terminal, folder and process group.

    Raises:
        CannotTell: It cannot be started.
    """
    try:
        return subprocess.Popen(list(argv))
    except (OSError, ValueError) as error:
        told = getattr(error, "strerror", None) or error
        raise CannotTell(f"{printable(argv[0])} could not be started: {told}.") from error


def end(process: subprocess.Popen[bytes], *, grace_seconds: float = _GRACE_SECONDS) -> bool:
    """Kill a helper that `begin` started, with its group; return whether it is gone.

    Args:
        process: The helper.
        grace_seconds: How long it is waited for; one in uninterruptible sleep stays for longer.
    """
    _end(process, grace_seconds)
    return process.poll() is not None


def running_pid(value: object) -> int | None:
    """Return the process number of a child that runs; None when ``value`` is no child's handle."""
    of_asyncio = sys.modules.get("asyncio.subprocess")
    is_child = isinstance(value, subprocess.Popen) or (
        of_asyncio is not None and isinstance(value, of_asyncio.Process)
    )
    if not is_child:
        return None
    child: Any = value
    return child.pid if child.returncode is None else None


def _start(
    args: tuple[str, ...],
    *,
    stdin: IO[bytes] | int,
    stdout: IO[bytes] | int,
    stderr: IO[bytes] | int,
    env: Mapping[str, str] | None,
    cwd: Path | None,
) -> subprocess.Popen[bytes]:
    group: dict[str, Any] = (
        {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}  # type: ignore[attr-defined,unused-ignore]
        if sys.platform == "win32"
        else {"start_new_session": True}
    )
    environment = None if env is None else dict(env)
    where = cwd or tempfile.gettempdir()
    try:
        return subprocess.Popen(
            args, stdin=stdin, stdout=stdout, stderr=stderr, env=environment, cwd=where, **group
        )
    except OSError as error:
        raise CannotTell(f"{args[0]} could not be started: {error.strerror or error}.") from error


def _wait(
    process: subprocess.Popen[bytes],
    name: str,
    deadline_seconds: float,
    printed: tuple[IO[bytes], ...],
) -> int:
    ends_at = time.monotonic() + deadline_seconds
    while True:
        left_seconds = ends_at - time.monotonic()
        try:
            return process.wait(timeout=max(0.0, min(_POLL_SECONDS, left_seconds)))
        except subprocess.TimeoutExpired:
            if left_seconds <= _POLL_SECONDS:
                raise
        if any(os.fstat(stream.fileno()).st_size > _MAX_PRINTED_BYTES for stream in printed):
            raise CannotTell(
                f"{name} printed more than {_MAX_PRINTED_BYTES >> 20} MiB and was stopped.",
                "A program that answers our question prints far less.",
            )


def _end(process: subprocess.Popen[bytes], grace_seconds: float = _GRACE_SECONDS) -> None:
    """Kill what is left of the group; it is ours, we started it."""
    if process.poll() is None or sys.platform != "win32":
        with contextlib.suppress(OSError):
            if sys.platform == "win32":
                process.kill()
            else:
                os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=grace_seconds)


def _read(stream: IO[bytes], keep_bytes: int) -> str:
    stream.seek(0)
    data = stream.read(keep_bytes)
    return data.decode("utf-8", "replace")
