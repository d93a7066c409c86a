"""The history's file: opened so that whatever is wrong with it is said and never stops a run."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from modelmedic.history.schema import MIGRATIONS
from modelmedic.text import printable

NAME = "history.db"
WAIT_SECONDS = 5.0  # another run stores its own in milliseconds, an import in batches of half a one
_PAUSE_SECONDS = 0.02
_FLAGS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
_BESIDE = ("-wal", "-shm", "-journal")  # SQLite's own files, by what is added to the name
_NOT_KEPT = "What is stored now is not kept."
# What SQLite says of a file that is no database, or no whole one. Others (locked, full, read-only)
# say nothing against what lies in it.
_DAMAGE = ("malformed", "not a database", "unsupported file format", "encrypted")


class Damaged(Exception):  # noqa: N818 - a state of the file, told in words
    """The file cannot be the history; its text says why."""


class Newer(Damaged):
    """A later version wrote it: it is whole, and left for that version."""


@dataclass(slots=True)
class Opened:
    """A connection and what was wrong; ``is_kept`` is False when it is memory only."""

    connection: sqlite3.Connection
    trouble: str = ""
    is_kept: bool = True


def opened(state_dir: Path, *, is_read_only: bool, clock: Callable[[], float]) -> Opened:
    """Return the history of a state folder; an empty one in memory where there can be none."""
    path = state_dir / NAME
    try:
        return _read_only(path) if is_read_only else _writable(path, clock)
    except (OSError, sqlite3.Error, Damaged) as error:
        why = f"The history {printable(path)} cannot be used: {_reason(error)}."
        return _in_memory(f"{why} {'' if is_read_only else _NOT_KEPT}".strip())


def set_aside(path: Path, clock: Callable[[], float]) -> Path:
    """Rename the file and what SQLite keeps beside it to a dated name, and return that.

    Raises:
        OSError: It cannot be renamed.
    """
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime(clock()))
    names = (f"{path.name}.aside-{stamp}{more}" for more in ("", *(f"-{n}" for n in range(2, 99))))
    aside = next(path.with_name(name) for name in names if not _lies(path.with_name(name)))
    path.rename(aside)
    for ending in _BESIDE:
        with contextlib.suppress(FileNotFoundError):
            path.with_name(path.name + ending).rename(aside.with_name(aside.name + ending))
    return aside


def is_damage(error: sqlite3.Error) -> bool:
    """Return whether SQLite says that the file itself is broken."""
    return any(word in str(error) for word in _DAMAGE)


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Hold the write lock; all of the block is stored, or nothing."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):  # some errors have rolled it back already
            connection.execute("ROLLBACK")
        raise


def _writable(path: Path, clock: Callable[[], float]) -> Opened:
    _make_folder(path.parent)
    try:
        return _patient(path)
    except Newer:
        raise
    except Damaged as error:
        aside = set_aside(path, clock)
        found = _tried(path)
        found.trouble = set_aside_words(path, str(error), aside.name)
        return found


def set_aside_words(path: Path, why: str, aside: str) -> str:
    """Return what is said of a file that was set aside."""
    return (
        f"The history {printable(path)} cannot be used ({printable(why)}). It was set aside as "
        f"{printable(aside)}, and a new one was begun."
    )


def _patient(path: Path) -> Opened:
    """Open the file; where another process sets it up just now, wait for that.

    SQLite's own waiting does not cover the change to WAL. Source: sqlite.org/wal.html, "Sometimes
    Queries Return SQLITE_BUSY In WAL Mode".
    """
    ends = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            return _tried(path)
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > ends:
                raise
        time.sleep(_PAUSE_SECONDS)


def _make_folder(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)


def _tried(path: Path) -> Opened:
    """Open the file, or make it.

    Raises:
        Damaged: It is nothing that we could have written.
        OSError: It cannot be made.
        sqlite3.Error: It is locked for too long, the disk is full, or it may not be written.
    """
    _refuse_foreign(path)
    _make(path)
    connection = _connection(path.as_uri())
    try:
        trouble = _set_up(connection, path)
        _migrate(connection)
    except sqlite3.DatabaseError as error:
        connection.close()
        if is_damage(error):
            raise Damaged(str(error)) from error
        raise
    except BaseException:
        connection.close()
        raise
    return Opened(connection, trouble)


def _refuse_foreign(path: Path) -> None:
    """Raise `Damaged` for what somebody else could have written, or what is no file."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISREG(found.st_mode):
        raise Damaged("it is a link, or no regular file")
    if hasattr(os, "getuid") and found.st_uid != os.getuid():
        raise Damaged("it belongs to another user")
    if hasattr(os, "getuid") and stat.S_IMODE(found.st_mode) & 0o077:
        raise Damaged("others may read or write it")


def _make(path: Path) -> None:
    """Create the file private and empty; SQLite gives those beside it the same mode."""
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FLAGS, 0o600))


def _connection(address: str) -> sqlite3.Connection:
    connection = sqlite3.connect(address, timeout=WAIT_SECONDS, isolation_level=None, uri=True)
    connection.row_factory = sqlite3.Row
    return connection


def _set_up(connection: sqlite3.Connection, path: Path) -> str:
    """Set what a connection needs, and return what is to be said of the place."""
    if _version(connection) == 0:  # said again it would wait for who writes just now
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA secure_delete = ON")  # what is forgotten is overwritten
    if kind := network_type(path):
        connection.execute("PRAGMA journal_mode = DELETE")
        return (
            f"The history lies on a network file system ({printable(kind)}), where two machines "
            "must not write it at once. Choose a state folder on a local disk with "
            "MODELMEDIC_STATE_DIR."
        )
    connection.execute("PRAGMA journal_mode = WAL")
    # In WAL a kill loses nothing; a power cut may lose the last runs, never the file.
    connection.execute("PRAGMA synchronous = NORMAL")
    return ""


def network_type(path: Path) -> str:
    """Return the type of the network file system that ``path`` lies on; "" when it is on none.

    Source: sqlite.org/wal.html: "WAL does not work over a network filesystem".
    """
    from modelmedic.facts import mounts

    try:
        text = mounts.MOUNTINFO.read_text(encoding="utf-8", errors="surrogateescape")
        mount = mounts.mount_of(path.parent.resolve(), mounts.parse_mountinfo(text))
    except OSError:  # another platform: a share there is a drive of its own, SQLite locks it
        return ""
    return mount.fs_type if mount and mount.fs_type in mounts.NETWORK_TYPES else ""


def _migrate(connection: sqlite3.Connection) -> None:
    """Bring the tables up to date; of two that begin at once, one does it."""
    if _version(connection) == len(MIGRATIONS):
        _refuse_other_tables(connection)
        return
    with transaction(connection):
        version = _version(connection)
        _refuse_newer(version)
        if version == 0 and _tables(connection):
            raise Damaged("it holds other tables")
        for text in MIGRATIONS[version:]:
            for statement in _statements(text):
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
    _refuse_other_tables(connection)


def _refuse_newer(version: int) -> None:
    if version > len(MIGRATIONS):
        raise Newer(
            f"a newer modelmedic wrote it (version {version}, this one knows {len(MIGRATIONS)}); "
            "update this one, or name another state folder with MODELMEDIC_STATE_DIR"
        )


def _statements(text: str) -> Iterator[str]:
    """Yield one statement at a time: `executescript` would commit what was begun."""
    statement = ""
    for line in text.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _tables(connection: sqlite3.Connection) -> dict[str, str]:
    rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL")
    return {row[0]: row[1] for row in rows if not row[0].startswith("sqlite_")}


def _refuse_other_tables(connection: sqlite3.Connection) -> None:
    found = _tables(connection)
    if found != _expected():
        names = sorted({*found.items()} ^ {*_expected().items()})
        raise Damaged(f"its tables are not ours, {printable(names[0][0])} for one")


@cache
def _expected() -> dict[str, str]:
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        for text in MIGRATIONS:
            connection.executescript(text)
        return _tables(connection)


def _read_only(path: Path) -> Opened:
    if not _lies(path):
        return _in_memory("")
    _refuse_foreign(path)
    connection = _connection(f"{path.as_uri()}?mode=ro")
    try:
        _refuse_other_version(connection)
        _refuse_other_tables(connection)
    except BaseException:
        connection.close()
        raise
    return Opened(connection)


def _refuse_other_version(connection: sqlite3.Connection) -> None:
    version = _version(connection)
    _refuse_newer(version)
    if 0 < version < len(MIGRATIONS):
        raise Damaged(
            "an older modelmedic wrote it; the next run of the checks brings it up to date"
        )
    if not version:
        raise Damaged("it holds no history yet")


def _in_memory(trouble: str) -> Opened:
    connection = _connection("file::memory:")
    connection.execute("PRAGMA foreign_keys = ON")
    _migrate(connection)
    return Opened(connection, trouble, is_kept=False)


def _lies(path: Path) -> bool:
    try:
        path.lstat()
    except OSError:
        return False
    return True


def _reason(error: Exception) -> str:
    return printable(getattr(error, "strerror", None) or str(error))
