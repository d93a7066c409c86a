"""Commands a person can type for the target's Python; every one is runnable as printed."""

from __future__ import annotations

from collections.abc import Iterable

from modelmedic.facts import environment, interpreter, packages
from modelmedic.facts.book import FactBook
from modelmedic.profile.model import Profile

_TRIED_NAMES = 100  # .venv, .venv-2, ...: more environments in one folder are not looked past


def install_command(facts: FactBook, found: interpreter.Interpreter, arguments: list[str]) -> str:
    """Return the command that installs into the target, by whatever can do it there.

    Where pip would be refused (an externally managed Python) it is the way to an environment.
    """
    if found.is_externally_managed:
        return new_environment(facts)
    venv = facts.get(environment.read_environment)
    if "pip" not in found.installed and venv.maker == "uv":
        return packages.shell_words(["uv", "pip", "install", "--python", found.target, *arguments])
    return packages.shell_words([found.target, "-m", "pip", "install", *arguments])


def uninstall_command(facts: FactBook, found: interpreter.Interpreter, names: list[str]) -> str:
    """Return the command that removes distributions from the target, by whatever can do it."""
    venv = facts.get(environment.read_environment)
    if "pip" not in found.installed and venv.maker == "uv":
        return packages.shell_words(["uv", "pip", "uninstall", "--python", found.target, *names])
    return packages.shell_words([found.target, "-m", "pip", "uninstall", "-y", *names])


def new_environment(facts: FactBook) -> str:
    """Return how to make an environment beside what is there; nothing is replaced by it."""
    requires = facts.profile.python.requires
    place = facts.context.place
    names = (".venv", *(f".venv-{number}" for number in range(2, _TRIED_NAMES)))
    free = (place / name for name in names if not (place / name).exists())
    folder = next(free, place / f".venv-{_TRIED_NAMES}")
    python = facts.get(interpreter.read_suitable_python, requires)
    command = packages.shell_words([python or "python3", "-m", "venv", folder])
    if python:
        return f"`{command}`, then install the app's packages into it."
    return f"Install Python {requires or '3'}, then: `{command}`."


def settle_command(
    facts: FactBook,
    found: interpreter.Interpreter,
    profile: Profile,
    conflicts: Iterable[packages.Conflict],
) -> str:
    """Return the command that lets pip settle all packages involved in one go.

    What the profile asks of a package goes along: settling one conflict must not make another.
    """
    if found.is_externally_managed:
        return new_environment(facts)
    conflicts = list(conflicts)
    asked = {r.name: r.spec for r in profile.python.requirements}
    whole = [c for c in conflicts if c.kind in {"missing", "version"}]
    if whole and len(whole) == len(conflicts):
        specs = {c.name: asked.get(c.name, c.name) for c in whole if packages.is_name(c.name)}
        specs |= {c.other: asked.get(c.other, c.cure) for c in whole}
        return install_command(facts, found, list(specs.values()))
    first = next(c for c in conflicts if c.kind not in {"missing", "version"})
    if not first.cure and first.kind != "shared-module":
        return "Close the app and move that folder out of the environment."
    if first.kind in {"broken", "no-record"}:
        return install_command(facts, found, ["--ignore-installed", "--no-deps", first.cure])
    names = sorted({first.name, first.other})
    keep = next((asked[name] for name in names if name in asked), names[0])
    remove = packages.shell_words([found.target, "-m", "pip", "uninstall", "-y", *names])
    again = " (once for each copy)" if first.kind == "duplicate" else ""
    return f"`{remove}`{again}, then `{install_command(facts, found, [keep])}`."
