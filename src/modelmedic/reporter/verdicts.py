"""How an install does, in a sentence."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from modelmedic.reporter.reading import Run
from modelmedic.text import counted, printable

_NAMED_CAUSES = 3
_BESIDE = {"healed": "repaired", "degraded": "worked around", "skipped": "that do not apply"}


def verdict(run: Run, causes: Sequence[Mapping[str, Any]]) -> str:
    """Return how an install does.

    Args:
        run: The newest one.
        causes: What is wrong, as `reading.causes` returns it.
    """
    if run.exit_code is None:
        begin = "The newest run was ended before it was done"
        if not causes:
            return f"{begin}; what it had judged until then was not wrong."
        return f"{begin}. {_wrong(causes)}"
    if causes:
        return _wrong(causes)
    counts = run.counts
    if not sum(counts.get(name, 0) for name in ("passed", "healed", "degraded")):
        return "Nothing was judged: no check of the newest run applied."
    more = "".join(
        f", {counts[name]} {words}" for name, words in _BESIDE.items() if counts.get(name)
    )
    part = " The newest run was of a part of the checks." if run.is_partial else ""
    return f"Nothing is wrong: {counted(counts.get('passed', 0), 'check')} passed{more}.{part}"


def no_run(machine: str, folder: str | None) -> str:
    """Return why there is nothing to report.

    Args:
        machine: Name that was asked for and is not known; empty when that is not the reason.
        folder: That was asked for.
    """
    if machine:
        return f"No machine is called {printable(machine)} here; see: modelmedic history machines"
    of = f" of {printable(folder)}" if folder is not None else ""
    return f"No run{of} is known here. A run is stored when it ends: modelmedic check"


def _wrong(causes: Sequence[Mapping[str, Any]]) -> str:
    named = ", ".join(printable(cause["check"]) for cause in causes[:_NAMED_CAUSES])
    more = f" and {len(causes) - _NAMED_CAUSES} more" if len(causes) > _NAMED_CAUSES else ""
    oldest = time.strftime("%Y-%m-%d", time.gmtime(min(cause["since"] for cause in causes)))
    is_one = len(causes) == 1
    text = (
        f"{counted(len(causes), 'check')} {'is' if is_one else 'are'} wrong: {named}{more}, "
        f"{'since' if is_one else 'the oldest since'} {oldest}."
    )
    waiting = sum(cause["blocks"] for cause in causes)
    if not waiting:
        return text
    return (
        f"{text} {counted(waiting, 'check waits', 'checks wait')} on {'it' if is_one else 'them'}."
    )
