"""What differs between two runs, maybe of two machines: outcomes, and what may explain them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from modelmedic.inventory import FIELDS, unequal
from modelmedic.text import counted, printable, size

_MOST = 40  # lines of one kind; an environment made anew differs in hundreds of packages
_NOTHING = "(none)"
# Of a record and of its environment: what else decides how a run ends.
_TOP = ("profile", "stage", "mode", "modelmedic", "install_dir", "target_python")
_SWITCHES = ("is_deep", "is_offline", "is_partial")


def lines(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    """Yield what differs between two run records, each word of them printable."""
    yield _machines(before, after)
    found = list(_differences(before, after))
    yield from found or ["Nothing else differs."]


def _differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    outcomes = _outcomes(before, after)
    yield from _section("outcome differs", "outcomes differ", outcomes)
    yield from _section("difference of the runs", "differences of the runs", _runs(before, after))
    old, new = (_inventory(record) for record in (before, after))
    if not old or not new:
        yield "No inventory of packages, driver and files to compare: one of the runs has none."
        return
    yield from _section(
        "difference of the machines", "differences of the machines", _values(old, new, FIELDS)
    )
    yield from _section("package differs", "packages differ", _tables(old, new, "packages"))
    files = _tables(_sized(old), _sized(new), "files")
    yield from _section("file of the model differs", "files of the model differ", files)


def _machines(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    names = [str(record["environment"].get("machine_id") or "") for record in (before, after)]
    if not all(names):
        return "Whether it is the same machine is not known."
    if names[0] == names[1]:
        return f"The same machine: {printable(names[0])}."
    return f"Two machines: {printable(names[0])} and {printable(names[1])}."


def _outcomes(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    old, new = (
        {finding["check"]: finding for finding in record["findings"]} for record in (before, after)
    )
    for check in [*old, *(name for name in new if name not in old)]:
        was, now = (table[check]["outcome"] if check in table else "" for table in (old, new))
        if was != now:
            what = new[check]["what"] if check in new else ""
            told = f": {printable(what)}" if what else ""
            yield f"{printable(check)}: {was or _NOTHING} -> {now or _NOTHING}{told}"


def _runs(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    found = list(_values(before, after, _TOP))
    return found + list(_values(before["environment"], after["environment"], _SWITCHES))


def _inventory(record: Mapping[str, Any]) -> Mapping[str, Any]:
    found = record["environment"].get("inventory")
    return found if isinstance(found, dict) else {}


def _sized(inventory: Mapping[str, Any]) -> Mapping[str, Any]:
    files = inventory.get("files", {})
    return {"files": {name: f"{size(count)} ({count:,} bytes)" for name, count in files.items()}}


def _values(
    before: Mapping[str, Any], after: Mapping[str, Any], names: tuple[str, ...]
) -> Iterator[str]:
    for name, was, now in unequal(before, after, names):
        yield f"{name.replace('_', ' ')}: {_word(was)} -> {_word(now)}"


def _tables(before: Mapping[str, Any], after: Mapping[str, Any], name: str) -> Iterator[str]:
    for key, was, now in unequal(before.get(name, {}), after.get(name, {})):
        yield f"{printable(key)}: {_word(was)} -> {_word(now)}"


def _word(value: Any) -> str:
    if isinstance(value, list):
        return printable(", ".join(map(str, value))) or _NOTHING
    return _NOTHING if value is None or value == "" else printable(value)


def _section(one: str, many: str, lines_of: Iterable[str]) -> Iterator[str]:
    """Yield a heading with a count, and the lines below it; nothing when there are none."""
    found = list(lines_of)
    if not found:
        return
    yield f"{counted(len(found), one, many)}:"
    yield from (f"  {line}" for line in found[:_MOST])
    if rest := found[_MOST:]:
        yield f"  ... and {len(rest)} more"
