"""A SHA-256 whose state can be kept and taken up by a later process.

hashlib can copy a hasher, not keep one. OpenSSL's own context can be kept: 112 plain bytes. It is
used through the libcrypto that Python itself is linked to, and only after it proved, in this
process, that it agrees with hashlib before and after its state was moved.

Source: openssl ``include/openssl/sha.h``, ``struct SHA256state_st``; the functions are deprecated
since OpenSSL 3.0 and still exported.
"""

from __future__ import annotations

import hashlib
import platform
import sys
from functools import cache
from pathlib import Path
from typing import Any

STATE_BYTES = 112  # h[8], Nl, Nh, data[16], num, md_len: 28 words of 32 bits
_ROOM_BYTES = 256  # more than any build of it takes, should one have a longer context
_SAMPLE = bytes(range(256)) * 9


class ResumableSha256:
    """As hashlib's sha256, with a state that can be kept.

    Args:
        state: What `state` returned, in this process or another; None begins anew.
    """

    def __init__(self, state: bytes | None = None) -> None:
        import ctypes

        self._library = _library()
        self._context = ctypes.create_string_buffer(_ROOM_BYTES)
        if state is None:
            self._library.SHA256_Init(self._context)
        else:
            ctypes.memmove(self._context, state, STATE_BYTES)

    def update(self, data: bytes | bytearray | memoryview, /) -> None:
        """Take more bytes; other threads run meanwhile. A view must be of writable memory."""
        import ctypes

        count = len(data)
        if not isinstance(data, bytes):
            data = (ctypes.c_char * count).from_buffer(data)  # type: ignore[assignment]
        self._library.SHA256_Update(self._context, data, count)

    def state(self) -> bytes:
        """Return what stands for all bytes so far."""
        return bytes(self._context.raw[:STATE_BYTES])

    def has_more(self) -> bool:
        """Return whether the library keeps more than `state` takes: then that is not all."""
        return any(self._context.raw[STATE_BYTES:])

    def digest(self) -> bytes:
        """Return the digest of the bytes so far; more may follow."""
        import ctypes

        ended = ctypes.create_string_buffer(self._context.raw, _ROOM_BYTES)
        digest = ctypes.create_string_buffer(hashlib.sha256().digest_size)
        self._library.SHA256_Final(digest, ended)
        return digest.raw

    def hexdigest(self) -> str:
        """Return `digest` in hexadecimal digits."""
        return self.digest().hex()


@cache
def is_available() -> bool:
    """Return whether a state can be kept here: the library is found, and passes its test."""
    try:
        return _passes()
    except (OSError, AttributeError, ImportError, ValueError, TypeError):
        return False


@cache
def maker() -> str:
    """Return whose states can be taken up here: another library or processor starts anew."""
    import ssl

    return f"{ssl.OPENSSL_VERSION} {platform.machine()} {sys.byteorder}"


def _passes() -> bool:
    first = ResumableSha256()
    for end in (1, 63, 64, 65, 1000):
        first.update(_SAMPLE[:end])
    first.update(memoryview(bytearray(_SAMPLE)))
    second = ResumableSha256(first.state())
    second.update(_SAMPLE)
    wanted = hashlib.sha256()
    for end in (1, 63, 64, 65, 1000, len(_SAMPLE)):
        wanted.update(_SAMPLE[:end])
    if first.digest() != wanted.digest():
        return False
    wanted.update(_SAMPLE)
    return second.digest() == wanted.digest() and not second.has_more()


@cache
def _library() -> Any:
    """Return libcrypto, found through the module that links Python's hashlib to it.

    Raises:
        OSError: There is none to be had: it is linked into Python itself.
    """
    import _hashlib
    import ctypes

    file = getattr(_hashlib, "__file__", None)
    if file is None:
        raise OSError("hashlib is linked without a library of its own")
    if sys.platform == "win32":  # a lookup there does not go on in what a library needs itself
        found = sorted(Path(file).parent.glob("libcrypto-*.dll"))
        if not found:
            raise OSError("no libcrypto beside hashlib")
        file = str(found[0])
    library = ctypes.CDLL(file)
    for name, kinds in (
        ("SHA256_Init", [ctypes.c_void_p]),
        ("SHA256_Update", [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]),
        ("SHA256_Final", [ctypes.c_void_p, ctypes.c_void_p]),
    ):
        function = getattr(library, name)
        function.argtypes, function.restype = kinds, ctypes.c_int
    return library
