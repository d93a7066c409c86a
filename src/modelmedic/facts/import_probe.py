"""A module imported in the target, in a child of its own, with a deadline."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from modelmedic import caller, commands
from modelmedic.errors import CannotTell
from modelmedic.facts import program
from modelmedic.facts.book import FactBook, probe
from modelmedic.facts.import_faults import Fault, Link, classify_import
from modelmedic.facts.interpreter import find_document
from modelmedic.facts.interpreter_fault import last_line
from modelmedic.limits import TimeoutManager
from modelmedic.purity import TARGET_PYTHON
from modelmedic.text import printable

_LIMIT = "module_import"
_OWN_SHARE = 0.9  # of the limit: our own message comes before the book's
_MAX_NOISE = 4000  # of what a child printed; its last words tell most
# Libraries that write a file there when they are imported (transformers and diffusers a version
# mark, matplotlib its list of fonts): a place where nothing can be made keeps a look a look, and
# each of them goes on without. Source: transformers utils/hub.py, diffusers utils/hub_utils.py.
_CACHES = ("HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "TRANSFORMERS_CACHE", "MPLCONFIGDIR")
_NOT_INHERITED = frozenset({"__PYVENV_LAUNCHER__", "PYTHONINSPECT", "PYTHONSTARTUP"})


@dataclass(frozen=True, slots=True)
class Import:
    """What came of importing one module.

    ``fault`` is None when it is imported and nothing it printed says otherwise. ``is_imported``
    may be True beside a fault: xformers goes on without its extensions.
    """

    module: str
    is_imported: bool
    version: str = ""  # its __version__
    file: str = ""  # where it was found
    errors: tuple[Link, ...] = ()  # outermost first
    fault: Fault | None = None
    returncode: int = 0
    ended: str = ""  # how its program ended, in words, when that says something
    noise: str = ""  # what it printed, the last part
    seconds: float = 0.0

    @property
    def said(self) -> str:
        """Return the words of the deepest error, or of the end of its program; one line."""
        if self.errors:
            link = self.errors[-1]
            return printable(f"{link.type}: {' '.join(link.text.split())}"[:300])
        return last_line(self.noise)


@probe(_LIMIT, spawns=(TARGET_PYTHON,))
def read_import(facts: FactBook, module: str) -> Import:
    """Return what came of importing a module in the target.

    Raises:
        CannotTell: There is no target, it does not start, or the import did not end in time.
    """
    target = facts.target_python
    if target is None:
        raise CannotTell("There is no target Python to ask.", facts.context.target_reason)
    seconds = TimeoutManager().get_timeout(_LIMIT) * _OWN_SHARE
    return import_in(target, module, deadline_seconds=seconds)


def import_in(target: Path, module: str, *, deadline_seconds: float) -> Import:
    """Start an interpreter as the app would be started, and import one module there.

    Not isolated, unlike `interpreter.ask`: PYTHONPATH, PYTHONNOUSERSITE, the user's packages and
    LD_LIBRARY_PATH hold as they would for the app in this shell, because they decide what is
    imported. The folder of the app is not searched; what it would put before the packages is told
    by ``Interpreter.shadows``. Nothing is searched in the current folder. ``-B``: nothing is
    written beside the modules; ``-X faulthandler``: a crash leaves the line it came from.

    Raises:
        CannotTell: It did not start, or the import did not end in time.
    """
    nonce = secrets.token_hex(16)
    argv: list[str | Path] = [target, "-B", "-X", "faulthandler", "-c", _script(), module, nonce]
    done = commands.run(argv, deadline_seconds=deadline_seconds, env=app_environment(os.environ))
    document, noise = find_document(done.stdout, nonce)
    return parse_import(module, document, done.stderr + noise, done.returncode)


def app_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of an ordinary start, changed so that importing writes no caches."""
    nowhere = os.path.join(os.devnull, "no-cache")  # noqa: PTH118 - a text, no path of ours
    started = caller.as_started(environ)
    kept = {name: value for name, value in started.items() if name not in _NOT_INHERITED}
    return kept | dict.fromkeys(_CACHES, nowhere)


def parse_import(module: str, document: str | None, printed: str, returncode: int) -> Import:
    """Return what a child told of an import.

    Args:
        module: Its name.
        document: The report; None when the child ended before it.
        printed: Everything else that it printed.
        returncode: How it ended.
    """
    report = _report(document)
    links = tuple(_link(item) for item in _list(report.get("errors")))
    is_imported = document is not None and not links
    noise = printed[-_MAX_NOISE:]
    ended = "" if document is not None else program.end_words(returncode)
    fault = classify_import(links, printed, 0 if is_imported else returncode or int(not links))
    seconds = report.get("seconds")
    return Import(
        module=module,
        is_imported=is_imported,
        version=printable(_word(report.get("version"))),
        file=_word(report.get("file")),
        errors=links,
        fault=fault,
        returncode=returncode,
        ended=ended,
        noise=noise,
        seconds=float(seconds) if isinstance(seconds, int | float) else 0.0,
    )


@cache
def _script() -> str:
    return Path(__file__).with_name("import_report.py").read_text(encoding="utf-8")


def _report(document: str | None) -> dict[str, Any]:
    try:
        found = json.loads(document or "{}")
    except (ValueError, RecursionError) as error:
        raise CannotTell(f"What the child told cannot be read: {error}.") from error
    if not isinstance(found, dict):
        raise CannotTell("What the child told cannot be read: it is no object.")
    return found


def _link(item: object) -> Link:
    if not isinstance(item, dict):
        raise CannotTell("What the child told cannot be read: an error is no object.")
    winerror, line = item.get("winerror"), item.get("line")
    return Link(
        type=printable(_word(item.get("type"))),
        text=_word(item.get("text")),
        winerror=winerror if isinstance(winerror, int) else 0,
        module=printable(_word(item.get("module"))),
        where=_word(item.get("where")),
        line=line if isinstance(line, int) else 0,
    )


def _word(value: object) -> str:
    return value if isinstance(value, str) else ""


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []
