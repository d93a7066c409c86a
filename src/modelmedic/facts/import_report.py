"""Import one module and print what came of it, as one JSON document.

This text is run by the *target's* interpreter (``python -B -c <text> <module> <nonce>``), never
imported by ours. It must run on Python 3.6: no f-strings, no new annotations.
"""

import sys

sys.path[:] = [entry for entry in sys.path if entry]  # "-c" puts the current folder first

import atexit  # noqa: E402
import contextlib  # noqa: E402
import importlib  # noqa: E402
import json  # noqa: E402
import os  # noqa: E402
import time  # noqa: E402

MAX_TEXT = 2000
MAX_CHAIN = 6


def main(module: str, nonce: str) -> None:
    """Write the report between two lines that nothing else prints."""
    started = time.time()
    try:
        found = importlib.import_module(module)
        report = {"file": str(getattr(found, "__file__", None) or ""), "version": version_of(found)}
    except BaseException as error:  # noqa: BLE001 - also SystemExit: an import must not end the program
        report = {"errors": [link(each) for each in chain(error)]}  # type: ignore[dict-item]
    report["seconds"] = time.time() - started  # type: ignore[assignment]
    text = "\n<report " + nonce + ">" + json.dumps(report) + "</report " + nonce + ">\n"
    sys.stdout.flush()
    sys.stderr.flush()
    data = text.encode("ascii")
    while data:
        data = data[os.write(1, data) :]
    with contextlib.suppress(BaseException):
        atexit._run_exitfuncs()  # noqa: SLF001 - temporary folders of the modules go
    os._exit(0)  # the verdict is told: what breaks after it is not asked


def chain(error: BaseException) -> "list[BaseException]":
    """Return an error and what it came from, the outermost first."""
    found = []  # type: list[BaseException]
    current = error  # type: BaseException | None
    while current is not None and len(found) < MAX_CHAIN and current not in found:
        found.append(current)
        current = current.__cause__ or current.__context__
    return found


def link(error: BaseException) -> "dict[str, object]":
    """Return one error as plain values."""
    name = type(error).__module__ + "." + type(error).__name__
    where, line = "", 0
    trace = error.__traceback__
    while trace is not None:
        where, line = trace.tb_frame.f_code.co_filename, trace.tb_lineno
        trace = trace.tb_next
    try:
        text = str(error)[:MAX_TEXT]
    except Exception:  # noqa: BLE001 - an error that cannot be shown is shown by its type
        text = ""
    return {
        "type": name[9:] if name.startswith("builtins.") else name,  # noqa: FURB188 - Python 3.9
        "text": text,
        "winerror": getattr(error, "winerror", None) or 0,
        "module": str(getattr(error, "name", None) or ""),
        "where": where,
        "line": line,
    }


def version_of(module: object) -> str:
    """Return what a module calls its version, "" when it tells none."""
    value = getattr(module, "__version__", "")
    return str(value)[:100] if isinstance(value, str) else ""


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
