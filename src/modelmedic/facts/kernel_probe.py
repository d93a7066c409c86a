"""What the target's torch computes on each graphics card, in a child with a deadline."""

from __future__ import annotations

import json
import os
import re
import secrets
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from modelmedic import commands
from modelmedic.errors import CannotTell
from modelmedic.facts import program
from modelmedic.facts.book import FactBook, probe
from modelmedic.facts.import_probe import app_environment
from modelmedic.facts.interpreter import find_document
from modelmedic.facts.interpreter_fault import last_line
from modelmedic.limits import TimeoutManager
from modelmedic.purity import TARGET_PYTHON
from modelmedic.text import printable

_LIMIT = "kernel_probe"
_OWN_SHARE = 0.9
_ARCHITECTURE = re.compile(r"(sm|compute)_(\d+)(\d)[a-z]?")


@dataclass(frozen=True, slots=True)
class CardWork:
    """What one card did. A step's text is "" when it went well."""

    index: int  # CUDA's, not the driver's
    name: str = ""
    capability: tuple[int, int] | None = None
    steps: tuple[tuple[str, str], ...] = ()  # of "open", "element", "matmul", "flash_attn"

    @property
    def failed(self) -> tuple[tuple[str, str], ...]:
        """Return the steps that went wrong, with what they said."""
        return tuple((name, said) for name, said in self.steps if said)


@dataclass(frozen=True, slots=True)
class Kernels:
    """What the target's torch is and what it computed."""

    torch: str = ""
    cuda: str = ""  # "12.8"; "" in a build without CUDA
    is_available: bool = False
    architectures: tuple[str, ...] = ()  # "sm_90", "compute_120"
    cards: tuple[CardWork, ...] = ()
    error: str = ""  # why torch could not be imported or asked
    ended: str = ""  # how the child ended, when it ended before its answer


@probe(_LIMIT, spawns=(TARGET_PYTHON,))
def read_kernels(facts: FactBook) -> Kernels:
    """Return what the target's torch computes on each card.

    Raises:
        CannotTell: There is no target, it does not start, or it did not end in time.
    """
    target = facts.target_python
    if target is None:
        raise CannotTell("There is no target Python to ask.", facts.context.target_reason)
    return kernels_in(target, TimeoutManager().get_timeout(_LIMIT) * _OWN_SHARE)


def kernels_in(target: Path, deadline_seconds: float) -> Kernels:
    """Start an interpreter as the app would be started, and let its torch compute."""
    nonce = secrets.token_hex(16)
    argv: list[str | Path] = [target, "-B", "-X", "faulthandler", "-c", _script(), nonce]
    done = commands.run(argv, deadline_seconds=deadline_seconds, env=app_environment(os.environ))
    document, noise = find_document(done.stdout, nonce)
    return parse_kernels(document, done.stderr + noise, done.returncode)


def parse_kernels(document: str | None, printed: str, returncode: int) -> Kernels:
    """Return a child's answer; ``document`` is None when it ended before it.

    Raises:
        CannotTell: The answer cannot be read.
    """
    if document is None:
        return Kernels(error=last_line(printed), ended=program.end_words(returncode))
    try:
        report = json.loads(document)
        errors = report.get("errors", [])
        if errors:
            last = errors[-1]
            return Kernels(error=printable(f"{last['type']}: {last['text']}"[:300]))
        return Kernels(
            torch=printable(report["torch"]),
            cuda=printable(report["cuda"]),
            is_available=report["is_available"] is True,
            architectures=tuple(printable(each) for each in report["architectures"]),
            cards=tuple(_card(each) for each in report["cards"]),
        )
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise CannotTell(
            "What torch told of the graphics cards cannot be read.",
            f"{type(error).__name__}: {printable(error)}.",
        ) from error


def has_code_for(architectures: tuple[str, ...], capability: tuple[int, int]) -> bool:
    """Return whether a build of torch has code for a card.

    Source: CUDA programming guide: code for X.y runs on X.z with z >= y; PTX of an older
    architecture is compiled for any newer card.
    """
    for name in architectures:
        match = _ARCHITECTURE.fullmatch(name)
        if match is None:
            continue
        made_for = (int(match.group(2)), int(match.group(3)))
        is_same_major = made_for[0] == capability[0]
        if made_for <= capability and (is_same_major or match.group(1) == "compute"):
            return True
    return False


@cache
def _script() -> str:
    folder = Path(__file__).parent
    helpers = (folder / "import_report.py").read_text(encoding="utf-8")
    own = (folder / "kernel_report.py").read_text(encoding="utf-8")
    return helpers.partition("\nif __name__")[0] + "\n" + own


def _card(item: dict[str, Any]) -> CardWork:
    capability = item.get("capability")
    return CardWork(
        index=int(item["index"]),
        name=printable(str(item.get("name", ""))),
        capability=(int(capability[0]), int(capability[1])) if capability else None,
        steps=tuple(
            (printable(name), printable(" ".join(said.split())))
            for name, said in item["steps"].items()
            if said is not None
        ),
    )
