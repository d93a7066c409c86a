"""A plan that a person saw and now lets be applied: it selects and narrows, and never adds."""

from __future__ import annotations

import dataclasses
import json
import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from modelmedic import __version__, jsonshape, rooms
from modelmedic.context import Context
from modelmedic.errors import CannotTell, RecoveryRefused
from modelmedic.healing.engine import Plan
from modelmedic.operations.kinds import MakeDir
from modelmedic.text import counted, printable

SCHEMA = 1
EMBEDDED = "embedded:demo"  # stands for the embedded Hub, whose port differs from run to run
_MOST_BYTES = 16 * 1024 * 1024  # a plan holds whole settings files, at most 1 MiB each


def document(
    plans: Sequence[Mapping[str, Any]], context: Context, hub_url: str | None
) -> dict[str, Any]:
    """Return what plan.json holds: what it was made for, then the plans in their order."""
    return {
        "schema": SCHEMA,
        "modelmedic": __version__,
        "run_id": context.run_id,
        "profile": context.profile.name,
        "install_dir": str(context.place),
        "plans": [_portable(plan, hub_url) for plan in plans],
    }


class PlanFile:
    """The plans of a file, each bound to what the local profile and facts give today.

    A repair is applied only if its check and recovery stand in the file, and if what the
    recovery plans here and now is what the file says: same paths, sizes, times, hashes,
    addresses, content. So a file from elsewhere can choose among local repairs and leave out
    some of their sources; it can bring nothing of its own.

    Args:
        path: Where it was read from.
        plans: The plans in it.
        hub_url: The embedded Hub's address in this run; None when there is none.
    """

    def __init__(
        self, path: Path, plans: Sequence[Mapping[str, Any]], hub_url: str | None = None
    ) -> None:
        self.path = path
        self.plans = plans
        self._hub_url = hub_url

    def has(self, check: str, recovery: str) -> bool:
        """Return whether the file holds a plan of this recovery for this check."""
        return self._operations(check, recovery) is not None

    def bind(self, plan: Plan) -> None:
        """Make a local plan the one of the file; it may only lose sources by that.

        Raises:
            RecoveryRefused: It is not in the file, or something drifted since; names what.
        """
        planned = self._operations(plan.check, plan.recovery)
        if planned is None:
            raise RecoveryRefused(
                f"{plan.recovery} for {plan.check} was not applied: the plan file does not hold it."
            )
        rest = list(planned)
        for place, operation in enumerate(plan.operations):
            now = _portable(operation.to_json(), self._hub_url)
            while rest and rest[0] != now and _is_done(rest[0], now):
                rest.pop(0)
            if not rest:
                raise self._drifted(plan, f"it needs more now: {operation.describe()}")
            was = rest.pop(0)
            if narrowed := _narrowed(was, now):
                chosen = [self._local(source) for source in narrowed]
                narrower: Any = dataclasses.replace(operation, sources=tuple(chosen))  # type: ignore[call-arg]
                plan.operations[place] = narrower
            elif difference := _difference(was, now):
                raise self._drifted(plan, f"{operation.describe()}: {difference}")
        if any(entry["kind"] != MakeDir.kind for entry in rest):
            raise self._drifted(plan, "some of it is done already, or is not needed any more")

    def _operations(self, check: str, recovery: str) -> list[dict[str, Any]] | None:
        for plan in self.plans:
            if (plan["check"], plan["recovery"]) == (check, recovery):
                return [
                    {key: value for key, value in entry.items() if key != "text"}
                    for entry in plan["operations"]
                ]
        return None

    def _local(self, source: str) -> str:
        return source.replace(EMBEDDED, self._hub_url) if self._hub_url else source

    def _drifted(self, plan: Plan, what: str) -> RecoveryRefused:
        return RecoveryRefused(
            f"{plan.recovery} for {plan.check} was not applied: the install or the profile is "
            f"not as it was when the plan was made: {what}.",
            "A plan is applied exactly as it was seen, or not at all.",
            "Make a new one with --heal=plan.",
        )


def read(path: Path, context: Context, hub_url: str | None = None) -> PlanFile:
    """Return the plan file; it may come from a stranger: bounded, judged by its schema.

    Raises:
        CannotTell: It cannot be read, is no plan of this version, or was made for another
            install or profile.
    """
    value = _parsed(path)
    schema = json.loads((rooms.room("reports") / "plan.schema.json").read_text(encoding="utf-8"))
    if fault := jsonshape.first_fault(value, schema):
        _refuse(path, f"it is no plan of this version ({printable(fault)})")
    for name, given, ours in (
        ("modelmedic", value["modelmedic"], __version__),
        ("profile", value["profile"], context.profile.name),
        ("install folder", value["install_dir"], str(context.place)),
    ):
        if given != ours:
            _refuse(path, f"it was made for {name} {printable(given)}, not {printable(ours)}")
    return PlanFile(path, value["plans"], hub_url)


def _parsed(path: Path) -> Any:
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        with os.fdopen(handle, "rb") as stream:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                _refuse(path, "it is no regular file")
            data = stream.read(_MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        _refuse(path, str(getattr(error, "strerror", None) or error))
    if len(data) > _MOST_BYTES:
        _refuse(path, f"it has more than {_MOST_BYTES} bytes")
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        _refuse(path, f"it is no JSON ({type(error).__name__})")


def _refuse(path: Path, why: str) -> Any:
    raise CannotTell(
        f"The plan file {printable(path)} cannot be used: {why}.",
        next_step="Make one with --heal=plan --plan-file=FILE.",
    )


def _portable(value: Any, hub_url: str | None) -> Any:
    """Return JSON values as JSON reads them back, with the embedded Hub under its lasting name."""
    text = json.dumps(value)
    if hub_url:
        text = text.replace(json.dumps(hub_url)[1:-1], EMBEDDED)
    return json.loads(text)


def _is_done(planned: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Return whether a planned folder may be passed over: another repair has made it by now."""
    return planned["kind"] == MakeDir.kind and now != planned


def _narrowed(planned: Mapping[str, Any], now: Mapping[str, Any]) -> list[str] | None:
    """Return the sources that the file left over, if that is the only difference."""
    if "sources" not in planned or {**planned, "sources": 0} != {**now, "sources": 0}:
        return None
    left: list[str] = planned["sources"]
    if left == now["sources"] or not left or not set(left) <= set(now["sources"]):
        return None
    return left


def _difference(planned: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Return how two operations differ; empty when they do not."""
    for key in ("kind", *planned, *now):
        if planned.get(key) != now.get(key):
            return _told(key, planned.get(key), now.get(key))
    return ""


def _told(key: str, planned: Any, now: Any) -> str:
    if key == "was":
        return "the file that lies there now is another one (size or time differ)"
    if key == "content":
        return "what would be written now is something else"
    if key == "sources":
        ours = set(now or ())
        foreign = [source for source in planned or () if source not in ours]
        return f"none of the profile's: {counted(len(foreign), 'address')} of the file"
    return f"{key} was {printable(planned)}, and is {printable(now)} now"
