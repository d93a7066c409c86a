"""Stable stand-ins for names: equal names, equal words, and no way back without this state folder.

A plain hash of a host name or an address can be found by trying all of them. So it is keyed, with
32 random bytes that never leave the state folder.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import stat
from pathlib import Path

from modelmedic.errors import CannotTell

KEY_NAME = "pseudonyms.key"
_KEY_BYTES = 32
_LETTERS = 10  # 40 bits: two of a million names meet once in a million
_FLAGS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)


def token(key: bytes, category: str, value: str) -> str:
    """Return "category:" and ten letters, for a value under a key.

    Args:
        key: As `local_key` returns it.
        category: What the value is: "host", "user", "machine". Equal values of two categories get
            two words.
        value: Upper and lower case are one, as for host names and Windows paths.
    """
    text = f"{category}\0{value.casefold()}".encode("utf-8", "surrogateescape")
    return f"{category}:{hmac.new(key, text, hashlib.sha256).hexdigest()[:_LETTERS]}"


def local_key(state_dir: Path) -> bytes:
    """Return the key of this state folder; made, private, when there is none.

    Raises:
        CannotTell: It cannot be made, or somebody else could have read or made it.
    """
    path = state_dir / KEY_NAME
    try:
        return _read(path) if path.exists() else _made(path)
    except OSError as error:
        raise CannotTell(
            f"The key of the stand-ins for names cannot be used: {error.strerror or error}.",
            next_step=f"Make {state_dir} a folder that only you can write, or name another one "
            "with MODELMEDIC_STATE_DIR.",
        ) from error


def _read(path: Path) -> bytes:
    handle = os.open(path, os.O_RDONLY | _FLAGS)
    with os.fdopen(handle, "rb") as stream:
        found = os.fstat(handle)
        is_ours = not hasattr(os, "getuid") or (
            found.st_uid == os.getuid() and not stat.S_IMODE(found.st_mode) & 0o077
        )
        key = stream.read(_KEY_BYTES + 1) if stat.S_ISREG(found.st_mode) and is_ours else b""
    if len(key) != _KEY_BYTES:
        raise CannotTell(
            f"{path} is no key that only you could have read.",
            next_step="Remove it; a new one is made. Earlier stand-ins then no longer match.",
        )
    return key


def _made(path: Path) -> bytes:
    """Write a new key under a private name and link it: of two that begin at once, one wins."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    private = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
    handle = os.open(private, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FLAGS, 0o600)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(secrets.token_bytes(_KEY_BYTES))
            stream.flush()
            os.fsync(handle)
        try:
            os.link(private, path)
        except FileExistsError:
            pass
        except OSError:  # a file system without links
            if not path.exists():
                private.replace(path)
    finally:
        private.unlink(missing_ok=True)
    return _read(path)
