"""What an audit event of Python is about to change: a file, a connection, another process.

Source: the "Audit events table" of the Python documentation, 3.10 to 3.13. Reading is no deed. No
event tells of work done inside C extensions (ctypes, psutil), of ``os.mkfifo`` and ``os.mknod``,
nor of what a child does.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_NO_FOLDER = -1  # how an event says that no dir_fd was given

Args = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Deed:
    """One change that is about to happen.

    ``kind`` is "write", "connect", "spawn", "signal" or "registry". ``paths`` are the absolute
    paths a write would touch; None stands for one that cannot be told. ``is_local`` is whether a
    connection stays on this machine.
    """

    kind: str
    verb: str
    subject: str
    paths: tuple[str | None, ...] = ()
    is_local: bool = False


def of(event: str, args: Args, base: str | None = None) -> Deed | None:
    """Return what an audit event is about to change; None when it changes nothing.

    Args:
        event: A name of `EVENTS`.
        args: What came with it.
        base: The folder that names in an "open" event are relative to: it does not tell dir_fd.
            None is the current folder.
    """
    if event == "open":
        return _opening(args[0], base) if is_for_writing(args) else None
    return EVENTS[event](args)


def is_for_writing(args: Args) -> bool:
    """Return whether an "open" event opens (not just wraps a descriptor) to write or create."""
    flags = args[2] if len(args) > 2 else 0  # noqa: PLR2004 - (path, mode, flags)
    return isinstance(flags, int) and flags & _WRITES != 0 and not isinstance(args[0], int)


def _opening(name: Any, base: str | None) -> Deed:
    path = _place(name if base is None else Path(base, os.fsdecode(name)))
    # What is opened is where links lead to; all other deeds are done to the link itself.
    return Deed("write", "write", _shown(name, path), (path and os.path.realpath(path),))


# -- files -----------------------------------------------------------------------------------------


def _file(verb: str, folder_at: int | None = None) -> Callable[[Args], Deed]:
    """Return the reader of an event whose first argument is a path or descriptor."""

    def read(args: Args) -> Deed:
        path = _place(args[0], _NO_FOLDER if folder_at is None else args[folder_at])
        return Deed("write", verb, _shown(args[0], path), (path,))

    return read


def _two_files(verb: str) -> Callable[[Args], Deed]:
    """Return the reader of (source, target, its dir_fd, the other dir_fd); both may change."""

    def read(args: Args) -> Deed:
        old, new = _place(args[0], args[2]), _place(args[1], args[3])
        subject = f"{_shown(args[0], old)} to {_shown(args[1], new)}"
        return Deed("write", verb, subject, (old, new))

    return read


def _new_link(args: Args) -> Deed:
    path = _place(args[1], args[2] if len(args) > 2 else _NO_FOLDER)  # noqa: PLR2004 - dir_fd
    return Deed("write", "make the link", _shown(args[1], path), (path,))


def _database(args: Args) -> Deed | None:
    name = os.fsdecode(args[0])
    if name in {"", ":memory:"} or (name.startswith("file:") and "mode=ro" in name):
        return None
    path = _place(name)
    return Deed("write", "open the database", _shown(name, path), (path,))


def _place(name: Any, folder: int = _NO_FOLDER) -> str | None:
    """Return the absolute path an event means, links on the way resolved; None: not to be told."""
    if isinstance(name, int):
        held = folder_of(name)
        return None if held is None else str(held)
    path = Path(os.fsdecode(name))
    if folder != _NO_FOLDER and not path.is_absolute():
        held = folder_of(folder)
        if held is None:
            return None
        path = held / path
    try:
        if path.name in {"", ".."}:
            return os.path.realpath(path)
        return str(Path(os.path.realpath(path.parent), path.name))
    except (OSError, ValueError):  # the current folder is gone; a NUL in the name
        return None


def folder_of(descriptor: int) -> Path | None:
    """Return the path of an open descriptor; None where the system does not tell."""
    with contextlib.suppress(OSError, ValueError):
        if sys.platform == "darwin":
            import fcntl

            told: bytes = fcntl.fcntl(descriptor, fcntl.F_GETPATH, bytes(1024))
            return Path(os.fsdecode(told.rstrip(b"\0")))
        return Path(f"/proc/self/fd/{descriptor}").readlink()
    return None


def _shown(name: Any, path: str | None) -> str:
    if path is not None:
        return path
    return f"descriptor {name}" if isinstance(name, int) else os.fsdecode(name)


# -- connections -----------------------------------------------------------------------------------


def _to_address(verb: str) -> Callable[[Args], Deed | None]:
    """Return the reader of an event with a socket and an address."""

    def read(args: Args) -> Deed | None:
        address = args[1]
        if address is None:  # sendmsg on a socket that is connected
            return None
        if isinstance(address, tuple) and len(address) > 1 and isinstance(address[0], str):
            host, port = address[0], address[1]
            return Deed("connect", verb, f"{host} port {port}", is_local=_is_local(host))
        if isinstance(address, str | bytes):  # a socket in the file system
            return Deed("connect", verb, os.fsdecode(address), is_local=True)
        return Deed("connect", verb, str(address))

    return read


def _name(args: Args) -> Deed | None:
    """Read a look-up; one of a plain address asks nobody."""
    host = os.fsdecode(args[0]) if isinstance(args[0], str | bytes) else ""
    if not host or _address(host) is not None:
        return None
    return Deed("connect", "look up the name", host, is_local=_is_local(host))


def _reverse(args: Args) -> Deed:
    host = str(args[0][0] if isinstance(args[0], tuple) else args[0])
    return Deed("connect", "look up the address", host, is_local=_is_local(host))


def _is_local(host: str) -> bool:
    if host.lower() == "localhost":
        return True
    address = _address(host)
    return address is not None and address.is_loopback


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None


# -- processes -------------------------------------------------------------------------------------


def _program(at: int | None = 0) -> Callable[[Args], Deed]:
    """Return the reader of an event that starts the program in argument ``at``."""

    def read(args: Args) -> Deed:
        given = "a copy of this process" if at is None else args[at]
        if not given and len(args) > 1:  # Windows: the command line alone names it
            given = args[1]
        if isinstance(given, list | tuple):
            given = given[0] if given else ""
        shown = os.fsdecode(given) if isinstance(given, bytes | os.PathLike) else str(given)
        return Deed("spawn", "start", shown)

    return read


def _signal(args: Args) -> Deed | None:
    if args[1] == 0:  # asks whether the process is there
        return None
    if args[0] == os.getpid():  # how a program interrupts itself
        return None
    return Deed("signal", f"send signal {int(args[1])} to", f"process {args[0]}")


def _signal_to_group(args: Args) -> Deed | None:
    if args[1] == 0:
        return None
    return Deed("signal", f"send signal {int(args[1])} to", f"process group {args[0]}")


def _ending(args: Args) -> Deed:
    return Deed("signal", "end", f"the process of handle {args[0]}")


def _registry(args: Args) -> Deed:
    return Deed("registry", "change the registry at", " ".join(str(part) for part in args[1:2]))


EVENTS: Mapping[str, Callable[[Args], Deed | None]] = {
    "open": lambda args: _opening(args[0], None),
    "os.chflags": _file("change the flags of"),
    "os.chmod": _file("change the mode of", 2),
    "os.chown": _file("change the owner of", 3),
    "os.link": _two_files("link"),
    "os.mkdir": _file("make the folder", 2),
    "os.remove": _file("remove", 1),
    "os.removexattr": _file("change the attributes of"),
    "os.rename": _two_files("rename"),
    "os.rmdir": _file("remove the folder", 1),
    "os.setxattr": _file("change the attributes of"),
    "os.symlink": _new_link,
    "_winapi.CreateJunction": _new_link,
    "os.truncate": _file("cut"),
    "os.utime": _file("change the times of", 3),
    "sqlite3.connect": _database,
    "socket.bind": _to_address("listen at"),
    "socket.connect": _to_address("connect to"),
    "socket.sendmsg": _to_address("send to"),
    "socket.sendto": _to_address("send to"),
    "socket.getaddrinfo": _name,
    "socket.gethostbyaddr": _reverse,
    "socket.gethostbyname": _name,
    "socket.getnameinfo": _reverse,
    "_winapi.CreateProcess": _program(),
    "os.exec": _program(),
    "os.fork": _program(None),
    "os.forkpty": _program(None),
    "os.posix_spawn": _program(),
    "os.spawn": _program(1),
    "os.startfile": _program(),
    "os.startfile/2": _program(),
    "os.system": _program(),
    "pty.spawn": _program(),
    "subprocess.Popen": _program(),
    "os.kill": _signal,
    "os.killpg": _signal_to_group,
    "_winapi.TerminateProcess": _ending,
    "winreg.CreateKey": _registry,
    "winreg.DeleteKey": _registry,
    "winreg.DeleteValue": _registry,
    "winreg.LoadKey": _registry,
    "winreg.SaveKey": _registry,
    "winreg.SetValue": _registry,
}
