"""Half-installed packages and modules of several owners, in words: what, why, what next."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from modelmedic.errors import Unhealthy
from modelmedic.facts.book import FactBook
from modelmedic.facts.interpreter import Interpreter
from modelmedic.facts.packages import Distribution, pin
from modelmedic.facts.pip_commands import install_command
from modelmedic.text import counted, printable

_SHOWN = 3
_CODE = (".py", ".so", ".pyd", ".dll", ".dylib")
# Folders of packages that people delete to save room; nothing imports them.
_SPARE = frozenset({"test", "tests", "testing", "docs", "doc", "examples", "benchmarks"})


@dataclass(frozen=True, slots=True)
class Torn:
    """One distribution whose files are not as its RECORD says.

    ``missing`` and ``short`` are those that keep it from working; ``others`` counts the rest.
    """

    item: Distribution
    missing: tuple[str, ...]
    short: tuple[str, ...]
    others: int

    @property
    def is_fatal(self) -> bool:
        """Return whether code of it is gone or cut."""
        return bool(self.missing or self.short)


def torn(distributions: Iterable[Distribution]) -> tuple[Torn, ...]:
    """Return the distributions with missing or short files, in their order."""
    found = []
    for item in distributions:
        count = item.missing_count + item.short_count + item.edited_count
        if not count:
            continue
        missing = tuple(path for path in item.missing if _is_code(path))
        short = tuple(path for path in item.short if _is_code(path))
        found.append(Torn(item, missing, short, count - len(missing) - len(short)))
    return tuple(found)


def half_installed(facts: FactBook, found: Interpreter, broken: Sequence[Torn]) -> Unhealthy:
    """Return the verdict on distributions of which code is missing or cut."""
    shown = "; ".join(_of(each) for each in broken[:_SHOWN])
    more = f"; and {len(broken) - _SHOWN} more" if len(broken) > _SHOWN else ""
    first = broken[0].item
    return Unhealthy(
        f"{counted(len(broken), 'package')} half installed: {shown}{more}.",
        "Most often an install that was ended, a full disk, or a virus scanner that took a file.",
        reinstall_command(facts, found, [each.item for each in broken]),
        failure_id="half-installed-package",
        subject=first.key,
        evidence={
            f"{each.item.key}": f"{each.item.missing_count} missing, {each.item.short_count} short"
            for each in broken
        },
    )


def reinstall_command(facts: FactBook, found: Interpreter, items: Sequence[Distribution]) -> str:
    """Return the command that installs the same versions again and nothing else."""
    pins = [pin(item) for item in items if pin(item)]
    if not pins:
        return "Close the app and move those folders out of the environment."
    builds = {item.version.partition("+")[2] for item in items if item.key.startswith("torch")}
    indexes = [
        part
        for build in sorted(builds)
        if build.isalnum()
        for part in ("--extra-index-url", f"https://download.pytorch.org/whl/{build}")
    ]
    return install_command(facts, found, ["--force-reinstall", "--no-deps", *indexes, *pins])


def lesser(found: Sequence[Torn]) -> tuple[str, str, str]:
    """Return what, why and next about files that no import needs."""
    shown = ", ".join(printable(each.item.name) for each in found[:_SHOWN])
    more = ", ..." if len(found) > _SHOWN else ""
    count = sum(each.others for each in found)
    return (
        f"{counted(count, 'file')} of {shown}{more} missing or shorter than it was installed.",
        (
            "None of them is code that is gone or cut: most often somebody deleted tests or texts, "
            "or edited a file."
        ),
        "Nothing needs to be done while the app works.",
    )


def _of(each: Torn) -> str:
    parts = []
    if each.missing:
        parts.append(f"{_first(each.missing)} missing")
    if each.short:
        parts.append(f"{_first(each.short)} cut short")
    return f"{printable(each.item.name)} {printable(each.item.version)} ({', '.join(parts)})"


def _first(paths: tuple[str, ...]) -> str:
    more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
    return f"{printable(paths[0])}{more}"


def _is_code(path: str) -> bool:
    parts = path.replace("\\", "/").split("/")
    is_library = parts[-1].endswith(_CODE) or ".so." in parts[-1]
    return is_library and not _SPARE & set(parts[:-1])
