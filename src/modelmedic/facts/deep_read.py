"""One read of a file's every byte: its SHA-256, and the digests of its blocks beside it.

Memory stays flat: a few MiB of buffers. A read that is stopped tells how far it came, in a form
that a later process can take up. Where a processor is idle, reading and the block digests go to
a thread of their own, beside the SHA-256.
"""

from __future__ import annotations

import hashlib
import os
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass

from modelmedic.facts import resumable_sha256
from modelmedic.facts.buffers import read_buffer
from modelmedic.facts.digests import BLOCK_BYTES, DIGEST_BYTES, Blocks, Digests, Hasher, new_hasher
from modelmedic.facts.digests import block_algorithm as default_algorithm

# Handing over costs: with 2 MiB two threads take 1.2 times the processor time of one and 0.8 times
# its time on the wall, with 256 KiB 1.35 and 0.95 (measured).
_SHARED_BYTES = 2 << 20
_BUFFERS = 4
_ASK_BYTES = 64 << 20  # between two looks for an idle core; a smaller file is not worth a thread


@dataclass(frozen=True, slots=True)
class Unfinished:
    """How far a read came: all of it up to ``done_bytes``, a whole number of blocks."""

    done_bytes: int
    sha256_state: bytes
    algorithm: str
    block_digests: bytes


class Stopped(Exception):  # noqa: N818 - named for what happened
    """The read was to stop; ``unfinished`` is None where nothing can be taken up."""

    def __init__(self, unfinished: Unfinished | None) -> None:
        super().__init__("stopped")
        self.unfinished = unfinished


def read(
    descriptor: int,
    size_bytes: int,
    *,
    sha256: bool = True,
    algorithm: str | None = "",
    block_bytes: int = BLOCK_BYTES,
    git_blob: bool = False,
    progress: Callable[[int], None] | None = None,
    stop: Callable[[], bool] | None = None,
    has_idle_core: Callable[[], bool] | None = None,
    resume: Unfinished | None = None,
) -> Digests:
    r"""Return the digests of all bytes of an open file, from its start on.

    Args:
        descriptor: An open file; where it stands is changed.
        size_bytes: Its size as known; what it really has is in the result.
        sha256: Whether to take it. Without, ``sha256`` of the result is "".
        algorithm: Of the block digests; "" is what serves best here, None takes none.
        block_bytes: Size of a block, a multiple of 1 MiB.
        git_blob: Whether to take the Git SHA-1 too, ``sha1('blob <size>\0' + bytes)``.
        progress: Is told the bytes done, after each buffer; what it raises ends the read.
        stop: Asked after each buffer; true ends the read with `Stopped`.
        has_idle_core: Asked now and then; once true, the rest is read in two threads.
        resume: What `Stopped` told of the same content; not used where it does not fit.

    Raises:
        Stopped: As ``stop`` said.
        CannotTell: The algorithm is not known here.
        OSError: The file cannot be read.
    """
    chosen = default_algorithm() if algorithm == "" else algorithm
    taker = _Taker(chosen, block_bytes, size_bytes, sha256=sha256, git_blob=git_blob)
    if resume is not None:
        taker.take_up(resume)
    os.lseek(descriptor, taker.done_bytes, os.SEEK_SET)
    source = _Source(descriptor, progress, stop, taker)
    if not source.serial(has_idle_core):
        source.in_two_threads()
    return taker.digests()


class _Taker:
    """The hashers of one read, and where they stand."""

    def __init__(
        self, algorithm: str | None, block_bytes: int, size_bytes: int, *, sha256: bool,
        git_blob: bool,
    ) -> None:  # fmt: skip
        can_keep = sha256 and not git_blob and size_bytes > block_bytes
        self.keeps = can_keep and resumable_sha256.is_available()
        self.sha256: Hasher | None = None
        if sha256:
            self.sha256 = resumable_sha256.ResumableSha256() if self.keeps else hashlib.sha256()
        self.git: Hasher | None = None
        if git_blob:
            self.git = hashlib.sha1(b"blob %d\0" % size_bytes, usedforsecurity=False)
        self.algorithm = algorithm
        self._size_bytes = size_bytes
        self.block_bytes = block_bytes
        self.done_bytes = 0  # by the SHA-256
        self.kept: tuple[int, bytes] = (0, b"")
        self._block: Hasher | None = None
        self._in_block = 0
        self._digests = bytearray()

    def take_up(self, found: Unfinished) -> None:
        count = found.done_bytes // self.block_bytes
        fits = (
            0 < found.done_bytes <= self._size_bytes
            and found.done_bytes % self.block_bytes == 0
            and len(found.block_digests) == (DIGEST_BYTES * count if self.algorithm else 0)
            and len(found.sha256_state) == resumable_sha256.STATE_BYTES
        )
        if not self.keeps or found.algorithm != (self.algorithm or "") or not fits:
            return
        self.sha256 = resumable_sha256.ResumableSha256(found.sha256_state)
        self._digests += found.block_digests
        self.done_bytes = found.done_bytes
        self.kept = (found.done_bytes, found.sha256_state)

    def whole(self, data: memoryview) -> None:
        """Take bytes for the digests of the whole file."""
        if self.git is not None:
            self.git.update(data)
        if self.sha256 is None:
            self.done_bytes += len(data)
            return
        while data:  # up to each end of a block, where a later process could go on
            room = self.block_bytes - self.done_bytes % self.block_bytes
            self.sha256.update(data[:room])
            self.done_bytes += min(room, len(data))
            if self.keeps and self.done_bytes % self.block_bytes == 0:
                state = self.sha256.state()  # type: ignore[attr-defined]
                self.kept = (self.done_bytes, state)
            data = data[room:]

    def blocks(self, data: memoryview) -> None:
        """Take bytes for the digests of the blocks."""
        if self.algorithm is None:
            return
        while data:
            if self._block is None:
                self._block = new_hasher(self.algorithm)
            room = self.block_bytes - self._in_block
            self._block.update(data[:room])
            self._in_block += min(room, len(data))
            if self._in_block == self.block_bytes:
                self._end_block()
            data = data[room:]

    def _end_block(self) -> None:
        if self._block is not None:
            self._digests += self._block.digest()
        self._block, self._in_block = None, 0

    def unfinished(self) -> Unfinished | None:
        done, state = self.kept
        if not self.keeps or not done:
            return None
        count = done // self.block_bytes if self.algorithm else 0
        return Unfinished(
            done, state, self.algorithm or "", bytes(self._digests[: DIGEST_BYTES * count])
        )

    def digests(self) -> Digests:
        if self._in_block:
            self._end_block()
        blocks = None
        if self.algorithm is not None:
            blocks = Blocks(self.algorithm, self.block_bytes, bytes(self._digests))
        sha256 = self.sha256.digest().hex() if self.sha256 is not None else ""
        git = self.git.digest().hex() if self.git is not None else None
        return Digests(self.done_bytes, sha256, blocks, git)


class _Source:
    """Reads an open file into a taker, in one thread or two."""

    def __init__(
        self,
        descriptor: int,
        progress: Callable[[int], None] | None,
        stop: Callable[[], bool] | None,
        taker: _Taker,
    ) -> None:
        self._file = os.fdopen(descriptor, "rb", buffering=0, closefd=False)
        self._progress = progress
        self._stop = stop
        self._taker = taker

    def _is_to_stop(self) -> bool:
        if self._progress is not None:
            self._progress(self._taker.done_bytes)
        return self._stop is not None and self._stop()

    def serial(self, has_idle_core: Callable[[], bool] | None) -> bool:
        """Read to the end; return False once a second thread could help."""
        taker = self._taker
        buffer = read_buffer()
        asked_at = taker.done_bytes + _ASK_BYTES
        while True:
            if has_idle_core is not None and taker.done_bytes >= asked_at and taker.sha256:
                if has_idle_core():
                    return False
                asked_at += _ASK_BYTES
            count = self._file.readinto(buffer)
            if not count:
                return True
            taker.whole(buffer[:count])
            taker.blocks(buffer[:count])
            if self._is_to_stop():
                raise Stopped(taker.unfinished())

    def in_two_threads(self) -> None:
        """Read, with the block digests, in a second thread; take the rest here, beside it."""
        full: queue.SimpleQueue[tuple[memoryview, int] | BaseException] = queue.SimpleQueue()
        free: queue.SimpleQueue[memoryview | None] = queue.SimpleQueue()
        for _ in range(_BUFFERS):
            free.put(read_buffer(_SHARED_BYTES))
        reader = threading.Thread(target=self._feed, args=(free, full), daemon=True)
        reader.start()
        is_stopped = False
        try:
            while not is_stopped:
                entry = full.get()
                if isinstance(entry, BaseException):
                    raise entry
                buffer, count = entry
                if not count:
                    return
                self._taker.whole(buffer[:count])
                free.put(buffer)
                is_stopped = self._is_to_stop()
        finally:
            free.put(None)
            reader.join()
        raise Stopped(self._taker.unfinished())

    def _feed(
        self,
        free: queue.SimpleQueue[memoryview | None],
        full: queue.SimpleQueue[tuple[memoryview, int] | BaseException],
    ) -> None:
        try:
            while (buffer := free.get()) is not None:
                count = self._file.readinto(buffer) or 0
                full.put((buffer, count))  # both digests are taken of it at once
                if not count:
                    return
                self._taker.blocks(buffer[:count])
        except BaseException as error:  # noqa: BLE001 - raised where the read was asked for
            full.put(error)
