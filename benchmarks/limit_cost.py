"""What a limit of time costs, and how late it is when it breaks something off.

    python benchmarks/limit_cost.py [RUNS]

Entering and leaving ``TimeoutManager().limit(...)``: the least of RUNS (20) rounds of 1,000, in the
main thread, in a task of asyncio and in another thread; the peer is ``contextlib.nullcontext()``.

Overrun: the median and the most of RUNS limits of 0.2 s around 30 s of sleep, of a program, of a
read from a silent socket, of an asyncio sleep, of a loop, and in another thread around 0.5 s of
sleep, which nobody can interrupt. A program's overrun holds its end, with all it started.

Bars: 100 microseconds to enter and leave (what is limited takes a tenth of a second or more), and
0.1 s of overrun at the median wherever something can be interrupted.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from modelmedic.errors import OperationTimedOut
from modelmedic.limits import TimeoutManager

RUNS = 20
ROUNDS = 1_000
LIMIT_SECONDS = 0.2
BAR_ENTER_SECONDS = 100e-6
BAR_OVERRUN_SECONDS = 0.1
LIMITS = TimeoutManager()


def enter(make: Callable[[], contextlib.AbstractContextManager[object]]) -> float:
    """Return the seconds of one entering and leaving."""
    started = time.perf_counter()
    for _ in range(ROUNDS):
        with make():
            pass
    return (time.perf_counter() - started) / ROUNDS


def usual() -> contextlib.AbstractContextManager[object]:
    return LIMITS.limit("validation")


def in_task(_make: object) -> float:
    async def main() -> float:
        return enter(usual)

    return asyncio.run(main())


def in_thread(work: Callable[[], float]) -> float:
    found: list[float] = []
    thread = threading.Thread(target=lambda: found.append(work()))
    thread.start()
    thread.join()
    return found[0]


def overrun(work: Callable[[], None]) -> float:
    """Return how much later than its limit a block ended."""
    started = time.perf_counter()
    with contextlib.suppress(OperationTimedOut), LIMITS.limit("x", seconds=LIMIT_SECONDS):
        work()
    return time.perf_counter() - started - LIMIT_SECONDS


def read() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.recv(1)


def program() -> None:
    subprocess.run(["sleep", "30"], check=True)


def doze() -> None:
    time.sleep(0.5)


def spin() -> None:
    until = time.monotonic() + 30
    while time.monotonic() < until:
        pass


def overrun_of_task() -> float:
    async def main() -> None:
        async with LIMITS.limit("x", seconds=LIMIT_SECONDS):
            await asyncio.sleep(30)

    started = time.perf_counter()
    with contextlib.suppress(OperationTimedOut):
        asyncio.run(main())
    return time.perf_counter() - started - LIMIT_SECONDS


def main() -> int:
    """Print the figures; return 1 when a bar is missed."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else RUNS
    is_met = True
    bare = min(enter(contextlib.nullcontext) for _ in range(runs))
    print(f"{'a bare with block':<44} {bare * 1e6:8.2f} us")
    for name, measure in (
        ("enter and leave, main thread", lambda: enter(usual)),
        ("enter and leave, task of asyncio", lambda: in_task(None)),
        ("enter and leave, another thread", lambda: in_thread(lambda: enter(usual))),
    ):
        least = min(measure() for _ in range(runs))
        is_met &= least <= BAR_ENTER_SECONDS
        print(f"{name:<44} {least * 1e6:8.2f} us   bar {BAR_ENTER_SECONDS * 1e6:.0f} us")
    for name, late in (
        ("overrun, sleep", lambda: overrun(lambda: time.sleep(30))),
        ("overrun, a program", lambda: overrun(program)),
        ("overrun, silent socket", lambda: overrun(read)),
        ("overrun, loop", lambda: overrun(spin)),
        ("overrun, asyncio sleep", overrun_of_task),
        ("overrun, thread (cannot be interrupted)", lambda: in_thread(lambda: overrun(doze))),
    ):
        found = [late() for _ in range(runs)]
        middle = statistics.median(found)
        is_met &= middle <= BAR_OVERRUN_SECONDS or "thread" in name
        print(f"{name:<44} median {middle * 1000:7.2f} ms   most {max(found) * 1000:7.2f} ms")
    print("Bars met." if is_met else "A bar is MISSED.")
    return 0 if is_met else 1


if __name__ == "__main__":
    sys.exit(main())
