"""Fetches the model: one file after the other, as most installers do it."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import urllib.parse
import urllib.request
from pathlib import Path

from sample_installer.order import Order

_READ_BYTES = 1 << 16


class ModelDownloader:
    """Files of a Hub's repo in a folder."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.lock = order.model / ".cache" / "huggingface" / "download" / "model.lock"

    def check_server(self) -> None:
        """Ask the Hub whether it has the model."""
        with urllib.request.urlopen(f"{self.order.hub}/api/models/{self.order.repo}") as answer:
            answer.read()

    def take_lock(self) -> None:
        """Keep a second download of the same model out, by a file that names us."""
        self.lock.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(self.lock, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        os.write(handle, f"{os.getpid()}\n{socket.gethostname()}\n".encode())
        os.close(handle)

    def release_lock(self) -> None:
        self.lock.unlink()

    def missing_files(self) -> list[str]:
        """Return what is still to be fetched; nothing after a download that said it was whole."""
        if (self.order.model / ".complete").exists():
            return []
        return [path for path in self.order.files if not (self.order.model / path).exists()]

    def part_of(self, path: str) -> Path:
        return self.order.model / f"{path}.part"

    def fetch_file(self, path: str) -> None:
        """Fetch one file and prove it."""
        if (self.order.model / path).exists():
            return
        part = self.part_of(path)
        for where in (part, self.order.model / path):
            where.parent.mkdir(parents=True, exist_ok=True)
        url = f"{self.order.hub}/{self.order.repo}/resolve/main/{urllib.parse.quote(path)}"
        with urllib.request.urlopen(url) as answer, part.open("wb") as stream:
            shutil.copyfileobj(answer, stream, _READ_BYTES)
        self.verify_file(path, part)
        part.replace(self.order.model / path)

    def verify_file(self, path: str, where: Path | None = None) -> None:
        """Compare a file with the order.

        Raises:
            ValueError: It has another size or other bytes.
            OSError: It is not there.
        """
        where = where or self.order.model / path
        wanted = self.order.files[path]
        size = where.stat().st_size
        if size != wanted["size"]:
            raise ValueError(f"{path} has {size} bytes, expected {wanted['size']}")
        digest = hashlib.sha256(where.read_bytes()).hexdigest()
        if digest != wanted["sha256"]:
            raise ValueError(f"{path}: checksum mismatch: sha256 {digest[:12]}...")

    def finish(self) -> None:
        """Note that the download is whole."""
        (self.order.model / ".complete").touch()
