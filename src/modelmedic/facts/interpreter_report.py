"""Print what this Python is and what is installed in it, as one JSON document.

This text, after that of `record_report`, is run by the *target's* interpreter (``python -I -B -c
<text> <question> <nonce>``), never imported by ours. It uses the standard library only, imports
nothing that is installed in the target, writes nothing but standard output, and must run on
Python 3.6; so: no f-strings, no new annotations, no ``importlib.metadata`` (3.8).
"""

# pathlib costs this start 10 ms and gives nothing back:
# ruff: noqa: PTH110, PTH112, PTH113, PTH117, PTH118, PTH119, PTH120, PTH123, PTH208

import json
import os
import platform
import site
import sys
import sysconfig
import time

TYPE_CHECKING = False  # a name type checkers know; importing typing costs a start 15 ms
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO, Any

    from modelmedic.facts.record_report import (
        MAX_SECONDS,
        Record,
        direct_of,
        find_clashes,
        find_shadows,
        judge_record,
        scripts_of,
        tags_of,
        text_of,
    )

MAX_HEADER_BYTES = 1 << 20  # headers of METADATA; the description that follows is never read
WANTED = ("name", "version", "requires-dist", "requires-python")


def main(question: str, nonce: str) -> None:
    """Write the report between two lines that nothing else prints.

    ``question`` is a JSON object: "variables", those PYTHON* variables of an ordinary start that
    this one was not given, and "place", the folder of the app, "" when there is none.
    """
    try:
        report = describe(json.loads(question))
    except Exception as error:  # noqa: BLE001 - said to whoever asked, in the one answer we give
        report = {"error": type(error).__name__ + ": " + str(error)}
    document = json.dumps(report, separators=(",", ":"))
    text = "\n<report " + nonce + ">" + document + "</report " + nonce + ">\n"
    data = text.encode("ascii")
    while data:  # not sys.stdout: a sitecustomize may have replaced it, pythonw.exe has none
        data = data[os.write(1, data) :]


def describe(question: "Any") -> "dict[str, object]":
    """Return everything; see ``interpreter.Interpreter`` for the meaning of each key."""
    stdlib = sysconfig.get_path("stdlib") or ""
    variables = question["variables"]
    user_site, user_active = user_packages(variables)
    folders = search_folders(user_site if user_active else "")
    ends_at = time.monotonic() + MAX_SECONDS
    found = [scan(folder, ends_at) for folder in folders]
    everything = [item for part in found for item in part[0]]
    report = {
        "distributions": [item for item, _ in everything],
        "leftovers": [item for part in found for item in part[1]],
    }  # type: dict[str, object]
    report.update(of_interpreter(stdlib))
    report.update(of_ordinary_start(variables, question["place"], everything))
    report.update({"user_site": user_site, "is_user_site_active": user_active})
    return report


def of_interpreter(stdlib: str) -> "dict[str, object]":
    """Return what this Python is, whatever is installed in it."""
    return {
        "executable": sys.executable or "",
        "version": platform.python_version(),
        "implementation": sys.implementation.name,
        "bits": 64 if sys.maxsize > 2**32 else 32,
        "platform": sys.platform,
        "machine": platform.machine(),
        "prefix": sys.prefix,
        "base_prefix": sys.base_prefix,
        "purelib": sysconfig.get_path("purelib") or "",
        "stdlib": stdlib,
        "has_ensurepip": os.path.isdir(os.path.join(stdlib, "ensurepip")),
        "has_managed_marker": os.path.isfile(os.path.join(stdlib, "EXTERNALLY-MANAGED")),
        "is_conda": os.path.isdir(os.path.join(sys.prefix, "conda-meta")),
        "runtime_dlls": runtime_dlls(),
        "glibc": glibc(),
        "missing_path_entries": [p for p in sys.path if is_missing_entry(p)],
        "markers": markers(),
    }


def of_ordinary_start(
    variables: "dict[str, str]", place: str, everything: "list[tuple[dict[str, object], Record]]"
) -> "dict[str, object]":
    """Return what a start with these variables, in the folder of the app, would see."""
    entries = [entry for entry in variables.get("PYTHONPATH", "").split(os.pathsep) if entry]
    places = [(place, True)] if place else []
    places += [(entry, False) for entry in entries if os.path.isabs(entry)]
    own = [(item, record) for item, record in everything if item["folder"] not in entries]
    owners = {}  # type: dict[str, str]
    for item, record in own:
        for name in record.modules:
            owners.setdefault(name, str(item["name"]))
    with open(os.devnull) as stream:  # without an encoding: the default is what is asked for
        encoding = stream.encoding
    return {
        "clashes": find_clashes([record for _, record in everything]),
        "shadows": find_shadows(places, owners),
        "path_variable": entries,
        "home_variable": variables.get("PYTHONHOME", ""),
        "encoding": "utf-8" if variables.get("PYTHONUTF8") == "1" else encoding,
    }


def glibc() -> str:
    """Return the version of the GNU C library, "" where there is none (musl, Windows, macOS)."""
    try:
        return (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")[2]
    except (AttributeError, ValueError, OSError):
        return ""


def runtime_dlls() -> "list[str]":
    """Return the Visual C++ runtimes that lie beside the Python program."""
    found = []
    for folder in {os.path.dirname(sys.executable or ""), sys.base_prefix}:
        try:
            names = os.listdir(folder)
        except OSError:
            continue
        wanted = ("vcruntime140", "msvcp140")
        found += [os.path.join(folder, n) for n in names if n.lower().startswith(wanted)]
    return sorted(path for path in found if path.lower().endswith(".dll"))


def markers() -> "dict[str, str]":
    """Return the environment that dependency markers are judged in (PEP 508)."""
    return {
        "implementation_name": sys.implementation.name,
        "implementation_version": full_version(sys.implementation.version),
        "os_name": os.name,
        "platform_machine": platform.machine(),
        "platform_python_implementation": platform.python_implementation(),
        "platform_release": platform.release(),
        "platform_system": platform.system(),
        "platform_version": platform.version(),
        "python_full_version": platform.python_version(),
        "python_version": ".".join(str(part) for part in sys.version_info[:2]),
        "sys_platform": sys.platform,
    }


def full_version(info: "sys._version_info") -> str:
    """Return an implementation's version as PEP 508 spells it."""
    text = ".".join(str(part) for part in (info.major, info.minor, info.micro))
    return text if info.releaselevel == "final" else text + info.releaselevel[0] + str(info.serial)


def user_packages(variables: "dict[str, str]") -> "tuple[str, bool]":
    """Return the user's site folder and whether an ordinary start would search it.

    ``-I`` itself switches it off, so the rule of the site module is repeated here: in a virtual
    environment only with ``include-system-site-packages = true``, elsewhere always.
    """
    try:
        if variables.get("PYTHONUSERBASE"):
            os.environ["PYTHONUSERBASE"] = variables["PYTHONUSERBASE"]
            site.USER_BASE = site.USER_SITE = None  # found at the start, without that variable
        folder = site.getusersitepackages()
    except Exception:  # noqa: BLE001 - an odd HOME: then there is no such folder
        folder = ""
    is_wanted = not variables.get("PYTHONNOUSERSITE") and searches_outside()
    return folder or "", bool(folder) and os.path.isdir(folder) and is_wanted


def searches_outside() -> bool:
    """Return whether this environment lets packages in from outside of it."""
    if sys.prefix == sys.base_prefix:
        return True
    try:
        with open(os.path.join(sys.prefix, "pyvenv.cfg"), encoding="utf-8") as config:
            lines = [line.partition("=") for line in config]
    except (OSError, ValueError):
        return False
    return any(
        key.strip().lower() == "include-system-site-packages" and value.strip().lower() == "true"
        for key, _, value in lines
    )


def search_folders(user_site: str) -> "list[str]":
    """Return the existing folders that hold packages, each once, in the order of the search."""
    found = {}  # type: dict[str, str]
    for entry in [*sys.path, user_site]:
        if entry and os.path.isdir(entry):
            found.setdefault(os.path.normcase(os.path.realpath(entry)), entry)
    return list(found.values())


def is_missing_entry(entry: str) -> bool:
    """Return whether a search path entry leads nowhere (Python lists a zip that may not exist)."""
    return bool(entry) and not entry.endswith(".zip") and not os.path.exists(entry)


def scan(folder: str, ends_at: float) -> "tuple[list[tuple[dict[str, object], Record]], list[str]]":
    """Return the distributions of one folder and the paths that an aborted pip left there."""
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return [], []
    # pip renames what it removes to "~" (or "-") and the rest of the name, and back on failure.
    leftovers = [os.path.join(folder, n) for n in names if n.startswith("~")]
    wanted = [n for n in names if n.lower().endswith((".dist-info", ".egg-info"))]
    found = [distribution(folder, name, ends_at) for name in wanted if name[0] not in "~-"]
    if folder.lower().endswith(".egg") and "EGG-INFO" in names:
        found.append(distribution(folder, "EGG-INFO", ends_at))
    return found, leftovers


def distribution(folder: str, entry: str, ends_at: float) -> "tuple[dict[str, object], Record]":
    """Return one distribution; ``problem`` is empty when its metadata could be read."""
    base = os.path.join(folder, entry)
    is_wheel = entry.lower().endswith(".dist-info")
    path = base if os.path.isfile(base) else os.path.join(base, metadata_name(is_wheel))
    headers, problem = read_headers(path)
    record = judge_record(folder, base, ends_at)
    if not is_wheel:
        names = text_of(os.path.join(base, "top_level.txt")).split()
        record.modules.update((name, ("", "")) for name in names if name.isidentifier())
    found = {
        "folder": folder,
        "entry": entry,
        "name": first(headers, "name"),
        "version": first(headers, "version"),
        "requires_python": first(headers, "requires-python"),
        "requires": headers.get("requires-dist", []),
        "requires_txt": "" if is_wheel else text_of(os.path.join(base, "requires.txt")),
        "installer": text_of(os.path.join(base, "INSTALLER"), 100).strip(),
        "has_record": os.path.isfile(os.path.join(base, "RECORD")),
        "problem": problem,
        "tags": tags_of(text_of(os.path.join(base, "WHEEL"))),
        "direct": direct_of(text_of(os.path.join(base, "direct_url.json"))),
        "scripts": scripts_of(text_of(os.path.join(base, "entry_points.txt"))),
        "record": record.as_json(),
    }
    return found, record


def metadata_name(is_wheel: bool) -> str:
    """Return what the file with the headers is called."""
    return "METADATA" if is_wheel else "PKG-INFO"


def first(headers: "dict[str, list[str]]", key: str) -> str:
    """Return the first value of a header, or an empty text."""
    values = headers.get(key, [])
    return values[0] if values else ""


def read_headers(path: str) -> "tuple[dict[str, list[str]], str]":
    """Return the wanted headers, by lower-case name, and what is wrong with the file."""
    name = os.path.basename(path)
    if not os.path.isfile(path):
        return {}, "it has no " + name + " file"
    try:
        with open(path, "rb") as stream:
            head = b"".join(header_lines(stream))
    except OSError as error:
        return {}, name + " cannot be read: " + str(error.strerror)
    headers = parse_headers(head.decode("utf-8", "replace"))
    missing = [word for word in ("Name", "Version") if not first(headers, word.lower())]
    return headers, name + " has no " + " and no ".join(missing) if missing else ""


def header_lines(stream: "IO[bytes]") -> "Iterator[bytes]":
    """Yield lines up to the first empty one, and no more than ``MAX_HEADER_BYTES``."""
    count = 0
    while count < MAX_HEADER_BYTES:
        line = stream.readline(MAX_HEADER_BYTES)
        if not line.rstrip(b"\r\n"):  # a line of spaces goes on with a header (a folded licence)
            return
        count += len(line)
        yield line


def parse_headers(text: str) -> "dict[str, list[str]]":
    """Return the wanted headers of a metadata text; they end at the first empty line."""
    headers = {}  # type: dict[str, list[str]]
    current = []  # type: list[str]
    for line in text.splitlines():
        if not line:
            break
        if line[0] in " \t":
            if current:
                current[-1] += " " + line.strip()
            continue
        key, _, value = line.partition(":")
        key = key.strip().lower()
        current = headers.setdefault(key, []) if key in WANTED else []
        current.append(value.strip())
    return headers


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
