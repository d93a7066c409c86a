"""Write docs/checks.md from the checks, the recoveries and docs/guidance.toml.

python3 docs/generate.py, with a Python that has modelmedic's packages; a test compares the page.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

DOCS = Path(__file__).resolve().parent
sys.path.insert(0, str(DOCS.parent / "src"))  # a bare checkout

from modelmedic import rooms  # noqa: E402 - after the path above
from modelmedic.healing.registry import Recovery  # noqa: E402

PAGE = DOCS / "checks.md"
AREAS = {
    "system": "System",
    "disk": "Disk",
    "hardware": "Hardware",
    "python": "Python",
    "network": "Network",
    "permissions": "Permissions",
    "install": "Install",
    "weights": "Weights",
    "config": "Settings",
}
# What a check that has this parameter is judged for; as in plugins/examination.py.
PARAMETERS = {
    "model_file": "each model file",
    "model": "each model",
    "endpoint": "each server",
    "config_file": "each settings file",
    "port": "each port",
    "requirement": "each Python package",
    "program": "each program",
    "folder": "each folder",
}
HEAD = """# Checks

This page is made by `docs/generate.py`; corrections go into the checks or `docs/guidance.toml`.

A check has an id, such as `weights.intact`; where it is judged more than once the id is followed
by what it was judged for: `weights.intact[model/config.json]`. *Severity* says what it means for
the app: a **blocker** stops it, a **major** fault breaks a part of it or its installation, a
**minor** one costs time or space. All count for the exit code in the same way: see
[outcomes](outcomes.md) and [exit codes](exit-codes.md). A check that *needs* another is not judged
while that one does not hold. Checks that are judged *in a finished install* are skipped while only
the machine is looked at ([`--stage`](healing.md#options)).
"""


@dataclass(frozen=True, slots=True)
class Check:
    """One check function as its markers and docstring describe it."""

    id: str
    area: str
    severity: str
    needs: tuple[str, ...]
    stage: str | None
    title: str
    more: str
    parameter: str
    using: tuple[str, ...]
    family: str
    page: str
    where: str  # file and function

    @property
    def anchor(self) -> str:
        """Return the name of its paragraph."""
        return self.id.replace(".", "-")


def checks() -> Iterator[Check]:
    """Yield every check of the room, in the order of its files and lines."""
    for path in sorted(rooms.room("checks").glob("test_*.py")):
        module = rooms.load("checks", path.stem)
        for name, function in vars(module).items():
            marks = {mark.name: mark for mark in getattr(function, "pytestmark", ())}
            if "check" in marks:
                yield _check(function, marks, f"checks/{path.name}::{name}")


def _check(function: Any, marks: dict[str, Any], where: str) -> Check:
    values = marks["check"].kwargs
    recover, guidance = marks.get("recover"), marks.get("guidance")
    title, _blank, more = inspect.cleandoc(function.__doc__ or "").partition("\n")
    parameters = [PARAMETERS[p] for p in inspect.signature(function).parameters if p in PARAMETERS]
    needs = values.get("needs", ())
    return Check(
        id=marks["check"].args[0],
        area=values["area"],
        severity=values.get("severity", "blocker"),
        needs=(needs,) if isinstance(needs, str) else tuple(needs),
        stage=values.get("stage"),
        title=title,
        more=more.strip(),
        parameter=" and ".join(parameters),
        using=tuple(recover.kwargs.get("using", ())) if recover else (),
        family=recover.args[0] if recover else "",
        page=guidance.args[0] if guidance else "",
        where=where,
    )


def offered(check: Check, healers: dict[str, Recovery]) -> tuple[str, ...]:
    """Return the recoveries a check may use: those it names, else all of its family, by rank."""
    of_family = (entry for entry in healers.values() if entry.family == check.family)
    ranked = sorted(of_family, key=lambda entry: (entry.order, entry.name))
    return check.using or tuple(entry.name for entry in ranked)


def recoveries() -> dict[str, Recovery]:
    """Return every recovery of the room by name."""
    found = {}
    for module in rooms.load_all("recoveries"):
        for value in vars(module).values():
            # A run of the checks in this process has made fixtures of them.
            plain = getattr(value, "_get_wrapped_function", lambda value=value: value)()
            entry = getattr(plain, "recovery", None)
            if isinstance(entry, Recovery):
                found[entry.name] = entry
    return dict(sorted(found.items()))


def guidance() -> dict[str, str]:
    """Return what a person can do, by check id."""
    with (DOCS / "guidance.toml").open("rb") as stream:
        return {name: text.strip() for name, text in tomllib.load(stream).items()}


def page() -> str:
    """Return docs/checks.md."""
    known, healers, texts = list(checks()), recoveries(), guidance()
    parts = [HEAD]
    for area, title in AREAS.items():
        here = [check for check in known if check.area == area]
        if here:
            parts += [f"## {title}\n", _table(here, healers)]
            parts += [_paragraphs(check, healers, texts.get(check.id, "")) for check in here]
    parts += ["## Recoveries\n"]
    parts += [_recovery(entry, known, healers) for entry in healers.values()]
    return "\n".join(parts).rstrip() + "\n"


def _table(here: list[Check], healers: dict[str, Recovery]) -> str:
    rows = ["| Check | Holds when | Severity | Repaired |", "|---|---|---|---|"]
    rows += [
        f"| [`{check.id}`](#{check.anchor}) | {check.title} | {check.severity} | "
        f"{'yes' if offered(check, healers) else 'no'} |"
        for check in here
    ]
    return "\n".join(rows) + "\n"


def _paragraphs(check: Check, healers: dict[str, Recovery], text: str) -> str:
    facts = [f"*{check.severity}*"]
    if check.parameter:
        facts.append(f"judged for {check.parameter}")
    if check.stage == "installed":
        facts.append("judged in a finished install")
    if check.needs:
        facts.append("needs " + ", ".join(f"[`{n}`](#{n.replace('.', '-')})" for n in check.needs))
    healed = [
        f"- `--heal` may use [`{name}`](#{_slug(name)}): {healers[name].title}"
        for name in offered(check, healers)
    ]
    if check.family and not healed:
        healed = [f"- `--heal` asks the family `{check.family}`."]
    lines = [f'<a id="{check.anchor}"></a>', f"### {check.id}\n", f"{check.title}\n"]
    lines += [f"{part}\n" for part in (check.more, "; ".join(facts) + ".") if part]
    lines += ["\n".join(healed) + "\n"] if healed else []
    lines += [f"{text}\n"] if text else []
    return "\n".join(lines)


def _recovery(entry: Recovery, known: list[Check], healers: dict[str, Recovery]) -> str:
    title, _blank, more = inspect.cleandoc(entry.function.__doc__ or "").partition("\n")
    users = [check for check in known if entry.name in offered(check, healers)]
    uses = ", ".join(f"[`{check.id}`](#{check.anchor})" for check in users)
    facts = [f"- {line.strip()}" for line in more.splitlines() if line.strip()]
    facts += [f"- Risk: {entry.risk} (its cost may raise it). Family: `{entry.family}`."]
    facts += [f"- Offered to: {uses or 'no check'}."]
    body = "\n".join(facts)
    return f'<a id="{_slug(entry.name)}"></a>\n### {entry.name}\n\n{title}\n\n{body}\n'


def _slug(name: str) -> str:
    return name.replace("_", "-")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
