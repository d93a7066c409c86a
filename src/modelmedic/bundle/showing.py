"""What is in a bundle, for support staff: contents, whether it is as it was made, the verdict."""

from __future__ import annotations

from collections.abc import Iterator

from modelmedic.bundle.collecting import verdict
from modelmedic.bundle.reading import Bundle
from modelmedic.errors import CannotTell
from modelmedic.text import counted, printable, size

_MOST_CAUSES = 10


def lines(bundle: Bundle) -> Iterator[str]:
    """Yield the lines for a terminal; every word of the bundle is made printable."""
    manifest = bundle.manifest
    yield (
        f"{printable(bundle.path)}: made by modelmedic {printable(manifest['modelmedic'])}"
        f"{_where(bundle)}"
    )
    for entry in manifest["members"]:
        cut = f" (without {printable(entry['cut'])})" if entry["cut"] else ""
        name = f"  {entry['name']:<44} {size(entry['bytes']):>10}"
        yield f"{name}  {printable(entry['about'])}{cut}"
    for entry in manifest["left_out"]:
        yield f"  not in it: {printable(entry['name'])}: {printable(entry['why'])}"
    yield from (f"NOTE: {warning}" for warning in bundle.warnings())
    if bundle.is_whole:
        yield "Every file has the SHA-256 that the manifest names."
    yield from _run(bundle)


def _where(bundle: Bundle) -> str:
    machine = bundle.manifest["machine"]
    return f" on {printable(machine)}" if machine else ""


def _run(bundle: Bundle) -> Iterator[str]:
    try:
        record = bundle.record()
    except CannotTell as error:
        yield str(error)
        return
    yield (
        f"Run {record['run_id']}, profile {printable(record['profile'])}, stage "
        f"{record['stage']}, {record['started_at']}."
    )
    yield f"Verdict: {printable(verdict(record))}"
    causes = record["root_causes"]
    for cause in causes[:_MOST_CAUSES]:
        waiting = f" ({counted(cause['blocks'], 'check')} wait on it)" if cause["blocks"] else ""
        check, what = printable(cause["check"]), printable(cause["what"])
        yield f"  {cause['outcome']} {check}: {what}{waiting}"
    if rest := causes[_MOST_CAUSES:]:
        yield f"  ... and {len(rest)} more"
