"""Compare what a wheel says it installed with what lies there: by existence and size, no hashing.

The first part of the text that the *target's* interpreter runs; `interpreter_report` is the other.
The same rules hold: standard library only, nothing of the target imported or written, Python 3.6.
"""

# pathlib costs this start 10 ms and gives nothing back:
# ruff: noqa: PTH113, PTH116, PTH118, PTH120, PTH123, PTH208

import json
import os
import struct
import sys
import time
import warnings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_LISTED = 20  # paths spelled out per distribution; all are counted
MAX_EXTENSIONS = 24
MAX_ENTRIES = 200000  # of one RECORD; torch has 13,000
MAX_LINE_BYTES = 8192
MAX_SECONDS = 6.0  # for all RECORDs: a cold disk gives 10,000 sizes a second, and some lie slower
COMPILED = (".so", ".pyd", ".dll", ".dylib")
WHERE = (("vcs_info", "vcs"), ("archive_info", "archive"), ("dir_info", "folder"))


class Record:
    """What the RECORD of one distribution says, compared with the disk."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.is_judged = False
        self.missing = []  # type: list[str]
        self.short = []  # type: list[str]
        self.extensions = []  # type: list[str]
        self.edited = []  # type: list[str]
        self.counts = {"missing": 0, "short": 0, "edited": 0, "outside": 0}
        self.modules = {}  # type: dict[str, tuple[str, str]]
        self.shared = {}  # type: dict[str, None]

    def take(self, path: str, digest: str, size: int) -> None:
        """Judge one entry. ``size`` in bytes, -1 when RECORD does not tell."""
        parts = path.replace("\\", "/").split("/")
        if "__pycache__" in parts or path.endswith(".pyc"):
            return  # Python makes and drops these as it likes
        self.note_module(parts, path, digest)
        is_compiled = path.endswith(COMPILED) or ".so." in parts[-1]
        if is_compiled and len(self.extensions) < MAX_ENTRIES:
            self.extensions.append(path)
        full = self.place(path, parts)
        if not full:
            self.counts["outside"] += 1
            return
        found = size_on_disk(full)
        if found is None:
            self.note("missing", path)
        elif size < 0:
            if is_compiled and is_cut(full, found):
                self.note("short", path)
        elif 0 <= found < size:
            is_edited = found > 0 and path.endswith(".py") and is_python(full)
            self.note("edited" if is_edited else "short", path)

    def place(self, path: str, parts: "list[str]") -> str:
        """Return where an entry lies, "" when it leads out of the environment: not looked at."""
        if ":" in parts[0]:
            return ""  # a drive of Windows
        if ".." not in parts and parts[0]:
            return os.path.join(self.folder, path)
        full = os.path.normpath(os.path.join(self.folder, path))
        return full if is_inside(full, self.folder) or is_inside(full, sys.prefix) else ""

    def note(self, kind: str, path: str) -> None:
        """Count a fault and keep its path while there is room."""
        self.counts[kind] += 1
        listed = {"missing": self.missing, "short": self.short, "edited": self.edited}[kind]
        if len(listed) < MAX_LISTED:
            listed.append(path)

    def note_module(self, parts: "list[str]", path: str, digest: str) -> None:
        """Keep what an entry tells about the modules that can be imported."""
        top, last = parts[0], parts[-1]
        if not last.endswith((".py", ".so", ".pyd")):
            return
        name = top.partition(".")[0]
        if not name.isidentifier() or name.startswith("__editable__"):
            return
        if len(parts) == 1 or (len(parts) == 2 and last.startswith("__init__.")):  # noqa: PLR2004
            self.modules.setdefault(name, (path, digest))
        elif name == top:
            self.shared[name] = None

    def as_json(self) -> "dict[str, object]":
        """Return it without what is empty."""
        by_depth = sorted(self.extensions, key=lambda path: (path.count("/"), path))
        found = {
            "is_judged": self.is_judged,
            "missing": self.missing,
            "short": self.short,
            "edited": self.edited,
            "extensions": by_depth[:MAX_EXTENSIONS],
            "modules": sorted(self.modules),
            "namespaces": sorted(name for name in self.shared if name not in self.modules),
        }  # type: dict[str, object]
        found.update((key + "_count", value) for key, value in self.counts.items())
        return {key: value for key, value in found.items() if value}


def judge_record(folder: str, base: str, ends_at: float) -> "Record":
    """Return what the RECORD of a metadata folder says; ``ends_at`` on the monotonic clock."""
    record = Record(folder)
    try:
        with open(os.path.join(base, "RECORD"), "rb") as stream:
            for count in range(MAX_ENTRIES):
                line = stream.readline(MAX_LINE_BYTES)
                if not line:
                    record.is_judged = True
                    break
                if count % 256 == 0 and time.monotonic() > ends_at:
                    break
                entry = parse_entry(line.decode("utf-8", "surrogateescape").strip())
                if entry[0]:
                    record.take(*entry)
    except OSError:
        record.is_judged = False
    return record


def parse_entry(line: str) -> "tuple[str, str, int]":
    """Return path, hash and size of one line; the path is "" when it is no entry."""
    rest, _, size = line.rpartition(",")
    path, _, digest = rest.rpartition(",")
    if path[:1] == '"' and path[-1:] == '"':
        path = path[1:-1].replace('""', '"')
    if "\0" in path:
        return "", "", -1
    return path, digest, int(size) if size.isdigit() and len(size) < 16 else -1  # noqa: PLR2004


def size_on_disk(path: str) -> "int | None":
    """Return the bytes of a file, None when it is not there, -1 when that cannot be told."""
    try:
        return os.stat(path).st_size
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError):
        return -1


def is_inside(path: str, folder: str) -> bool:
    """Return whether a normalised path lies below a folder, by its text alone."""
    root = os.path.normcase(os.path.normpath(folder))
    return os.path.normcase(path).startswith(root.rstrip(os.sep) + os.sep)


def is_cut(path: str, size: int) -> bool:
    """Return whether a 64-bit little-endian ELF file ends before its own table of sections."""
    try:
        with open(path, "rb") as stream:
            head = stream.read(64)
    except OSError:
        return False
    if head[:6] != b"\x7fELF\x02\x01":
        return False
    if len(head) < 64:  # noqa: PLR2004 - the size of its header
        return True
    offset, each, count = struct.unpack_from("<Q", head, 40) + struct.unpack_from("<HH", head, 58)
    return bool(offset + each * count > size)


def is_python(path: str) -> bool:
    """Return whether a file is code that Python reads to its end: then it was edited, not cut."""
    try:
        with open(path, "rb") as stream, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(stream.read(1 << 20), path, "exec", 0, True)
    except Exception:  # noqa: BLE001 - SyntaxError, ValueError, MemoryError, RecursionError
        return False
    return True


def text_of(path: str, limit: int = 1 << 16) -> str:
    """Return the beginning of a text file, empty when there is none."""
    try:
        if not os.path.isfile(path):
            return ""
        with open(path, "rb") as stream:
            return stream.read(limit).decode("utf-8", "replace")
    except OSError:
        return ""


def tags_of(text: str) -> "list[str]":
    """Return the tags of a WHEEL file."""
    lines = (line.partition(":") for line in text.splitlines())
    return [value.strip() for key, _, value in lines if key.strip() == "Tag"][:MAX_LISTED]


def direct_of(text: str) -> str:
    """Return how a distribution came that no index gave, "" when an index gave it (PEP 610)."""
    if not text:
        return ""
    try:
        found = json.loads(text)
        info = found.get("dir_info")
        if isinstance(info, dict) and info.get("editable") is True:
            return "editable"
        return next((word for key, word in WHERE if key in found), "folder")
    except (ValueError, AttributeError, RecursionError):
        return "folder"


def scripts_of(text: str) -> "list[str]":
    """Return the names of the programs in an entry_points.txt, in its order."""
    return [name for name in script_lines(text) if name][:MAX_LISTED]


def script_lines(text: str) -> "Iterator[str]":
    """Yield the names in the sections of programs."""
    is_wanted = False
    for line in text.splitlines():
        if line.startswith("["):
            is_wanted = line.strip() in ("[console_scripts]", "[gui_scripts]")
        elif is_wanted and "=" in line:
            yield line.partition("=")[0].strip()


def find_clashes(records: "list[Record]") -> "dict[str, list[int]]":
    """Return the modules that several distributions fill with different files, by their indexes.

    Of one folder: what lies in two merely hides. The same file from several
    (``backports/__init__.py``) is no clash.
    """
    owners = {}  # type: dict[tuple[str, str], list[int]]
    for index, record in enumerate(records):
        for name in record.modules:
            owners.setdefault((record.folder, name), []).append(index)
    several = [(key[1], found) for key, found in owners.items() if len(found) > 1]
    return {
        name: found
        for name, found in several
        if len({records[index].modules[name] for index in found}) > 1
    }


def find_shadows(
    places: "list[tuple[str, bool]]", owners: "dict[str, str]"
) -> "list[tuple[str, str, str, bool]]":
    """Return what in these folders Python would take for an installed or a standard module.

    Args:
        places: Folders that come before the environment, and whether the app lies there.
        owners: Who brings each installed module.
    """
    standard = standard_modules()
    found = []
    for folder, is_app in places:
        for name, path in modules_in(folder):
            if name in owners or name in standard:
                found.append((name, path, owners.get(name, ""), is_app))
    return found[: MAX_LISTED * 2]


def modules_in(folder: str) -> "Iterator[tuple[str, str]]":
    """Yield the modules of a folder; one without ``__init__.py`` gives way to an installed one."""
    try:
        names = sorted(os.listdir(folder))[:10000]
    except OSError:
        return
    for name in names:
        path = os.path.join(folder, name)
        if name.endswith(".py") and os.path.isfile(path):
            yield name[:-3], path
        elif name.isidentifier() and os.path.isfile(os.path.join(path, "__init__.py")):
            yield name, path


def standard_modules() -> "frozenset[str]":
    """Return the names of the standard library's modules."""
    known = getattr(sys, "stdlib_module_names", None)  # Python 3.10
    if known is not None:
        return frozenset(known)
    names = [name for name, _ in modules_in(os.path.dirname(os.__file__))]
    return frozenset(names).union(sys.builtin_module_names)
