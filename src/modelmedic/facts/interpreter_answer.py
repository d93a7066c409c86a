"""What a target Python said about itself, as values: the report of `interpreter_report`, parsed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelmedic.facts.interpreter_fault import InterpreterFault
from modelmedic.facts.packages import (
    Distribution,
    effective,
    name_from_entry,
    normalised,
    requires_from_egg,
)
from modelmedic.text import printable


@dataclass(frozen=True, slots=True)
class Shadow:
    """A module outside of the environment that an ordinary start finds before the installed one."""

    module: str  # "diffusers"
    path: str  # of the folder or file that wins
    owner: str  # normalised name of the distribution that loses; "" when it is a standard module
    is_app: bool  # it lies in the install, else in an entry of PYTHONPATH


@dataclass(frozen=True, slots=True)
class Interpreter:
    """What a target Python said about itself. Paths are texts, as it sees them.

    It is asked isolated. ``path_variable``, ``home_variable``, ``shadows``, ``encoding`` and
    ``is_user_site_active`` tell what an ordinary start with our own variables would see.
    """

    target: Path  # as it was asked for, links not followed
    executable: str
    version: str  # PEP 440: "3.12.1"
    implementation: str  # sys.implementation.name: "cpython"
    bits: int
    platform: str  # sys.platform
    machine: str
    prefix: str
    base_prefix: str
    purelib: str
    stdlib: str
    has_ensurepip: bool
    has_managed_marker: bool  # an EXTERNALLY-MANAGED file lies in its standard library
    is_conda: bool
    user_site: str
    is_user_site_active: bool  # the folder exists and an ordinary start searches it
    missing_path_entries: tuple[str, ...]
    markers: tuple[tuple[str, str], ...]
    distributions: tuple[Distribution, ...]  # in the order of its search path
    leftovers: tuple[str, ...]  # "~umpy" paths that an aborted pip left behind
    noise: str = ""  # first line it printed unasked while starting
    clashes: tuple[tuple[str, tuple[str, ...]], ...] = ()  # modules that owners fill differently
    shadows: tuple[Shadow, ...] = ()
    path_variable: tuple[str, ...] = ()  # entries of PYTHONPATH
    home_variable: str = ""  # PYTHONHOME
    runtime_dlls: tuple[str, ...] = ()  # Visual C++ runtimes beside its python.exe
    glibc: str = ""  # "2.36"; "" where there is none
    encoding: str = ""  # of texts opened without one: "utf-8", "cp936"

    @property
    def module_owners(self) -> dict[str, tuple[str, ...]]:
        """Return the normalised names of the distributions that bring each top-level module.

        Namespaces are left out: they are shared by design.
        """
        found: dict[str, tuple[str, ...]] = {}
        for item in self.installed.values():
            for module in item.modules:
                found[module] = (*found.get(module, ()), item.key)
        return found

    @property
    def is_venv(self) -> bool:
        """Return whether it runs in a virtual environment."""
        return self.prefix != self.base_prefix

    @property
    def is_externally_managed(self) -> bool:
        """Return whether pip refuses to install into it (PEP 668)."""
        return self.has_managed_marker and not self.is_venv

    @property
    def marker_environment(self) -> dict[str, str]:
        """Return the values that dependency markers are judged with."""
        return dict(self.markers)

    @property
    def installed(self) -> dict[str, Distribution]:
        """Return the distribution that each normalised name stands for."""
        return effective(d for d in self.distributions if d.folder != self.user_site)


def find_document(text: str, nonce: str) -> tuple[str | None, str]:
    """Return the report between its two marks, and everything printed around it.

    The report is None when it is not there or not complete.
    """
    before, start, rest = text.partition(f"<report {nonce}>")
    document, end, after = rest.partition(f"</report {nonce}>")
    return (document, before + after) if start and end else (None, text)


def parse_report(document: str, *, target: Path, noise: str = "") -> Interpreter:
    """Return a report as a fact.

    Raises:
        InterpreterFault: A value is missing or of another type: kind "garbage".
    """
    try:
        report = json.loads(document)
        if "error" in report:
            raise InterpreterFault(
                f"{printable(target)} could not describe itself: {printable(report['error'])}.",
                "Its standard library is most often damaged.",
                kind="crashed",
            )
        return _interpreter(report, target, noise)
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise InterpreterFault(
            f"{printable(target)} answered with a report that cannot be read.",
            f"{type(error).__name__}: {printable(error)}.",
            kind="garbage",
        ) from error


def _interpreter(report: dict[str, object], target: Path, noise: str) -> Interpreter:
    bits = report["bits"]
    distributions = tuple(_distribution(item) for item in _list(report["distributions"]))
    return Interpreter(
        target=target,
        bits=bits if isinstance(bits, int) else 0,
        markers=tuple(sorted(_texts_by_name(report["markers"]).items())),
        distributions=distributions,
        clashes=_clashes(report["clashes"], distributions),
        shadows=tuple(_shadow(item) for item in _list(report["shadows"])),
        path_variable=_texts(report["path_variable"]),
        runtime_dlls=_texts(report["runtime_dlls"]),
        leftovers=_texts(report["leftovers"]),
        missing_path_entries=_texts(report["missing_path_entries"]),
        noise=noise,
        **{name: printable(_text(report[name])) for name in _WORDS},  # type: ignore[arg-type]
        **{name: _text(report[name]) for name in _PATHS},  # type: ignore[arg-type]
        **{name: report[name] is True for name in _FLAGS},  # type: ignore[arg-type]
    )


_WORDS = ("version", "implementation", "platform", "machine", "glibc", "encoding")
_PATHS = (
    "executable", "prefix", "base_prefix", "purelib", "stdlib", "user_site", "home_variable"
)  # fmt: skip
_FLAGS = ("has_ensurepip", "has_managed_marker", "is_conda", "is_user_site_active")


def _distribution(item: object) -> Distribution:
    if not isinstance(item, dict):
        raise TypeError("a distribution is no object")
    entry = _text(item["entry"])
    name, version = name_from_entry(entry)
    egg = requires_from_egg(_text(item["requires_txt"]))
    return Distribution(
        name=printable(_text(item["name"]) or name),
        version=printable(_text(item["version"]) or version),
        folder=_text(item["folder"]),
        entry=entry,
        requires=_texts(item["requires"]) or egg,
        installer=_text(item["installer"]),
        has_record=item["has_record"] is True,
        problem=_text(item["problem"]),
        tags=_texts(item["tags"]),
        direct=_text(item["direct"]),
        scripts=_texts(item["scripts"]),
        **_record(item["record"]),
    )


_RECORD_LISTS = ("missing", "short", "edited", "extensions", "modules", "namespaces")
_RECORD_COUNTS = ("missing_count", "short_count", "edited_count", "outside_count")


def _record(item: object) -> dict[str, Any]:
    """Return the part of a distribution that its RECORD tells; what is empty was left out."""
    if not isinstance(item, dict):
        raise TypeError("a record is no object")
    found: dict[str, Any] = {name: _texts(item.get(name, [])) for name in _RECORD_LISTS}
    found |= {name: _count(item.get(name, 0)) for name in _RECORD_COUNTS}
    return found | {"is_judged": item.get("is_judged") is True}


def _clashes(
    value: object, distributions: tuple[Distribution, ...]
) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Return each module with the names of those that fill it; one name twice is no clash."""
    if not isinstance(value, dict):
        raise TypeError("the clashes are no object")
    found = []
    for module, indexes in value.items():
        names = dict.fromkeys(distributions[_count(index)].key for index in _list(indexes))
        if len(names) > 1:
            found.append((_text(module), tuple(names)))
    return tuple(found)


def _shadow(item: object) -> Shadow:
    module, path, owner, is_app = _list(item)
    return Shadow(_text(module), _text(path), normalised(_text(owner)), is_app is True)


def _count(value: object) -> int:
    if not isinstance(value, int) or value < 0:
        raise TypeError(f"{type(value).__name__} where a count was expected")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{type(value).__name__} where a text was expected")
    return value


def _list(value: object) -> list[object]:
    if not isinstance(value, list):
        raise TypeError(f"{type(value).__name__} where a list was expected")
    return value


def _texts(value: object) -> tuple[str, ...]:
    return tuple(_text(item) for item in _list(value))


def _texts_by_name(value: object) -> dict[str, str]:
    if not isinstance(value, dict):
        raise TypeError(f"{type(value).__name__} where an object was expected")
    return {_text(key): _text(item) for key, item in value.items()}
