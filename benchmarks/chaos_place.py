"""One install under chaos: its folders, the bytes it may hold, what must never be seen there."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from modelmedic.healing import journal
from modelmedic.testing.specimens import demo_files

SETTINGS = "settings.json"
LOCK = "model/.cache/huggingface/download/model.lock"
GOOD = {f"model/{path}": content for path, content in demo_files().items()}
_DIGESTS = {path: hashlib.sha256(content).hexdigest() for path, content in GOOD.items()}
# A person's own files, in and beside what is repaired.
CANARIES = {
    "model/my_lora.safetensors": b"\x08" + bytes(7) + b"mine" * 5_000,
    "outputs/holiday.mp4": b"film " * 9_000,
    "model/tokenizer/notes.txt": b"do not lose this\n",
    "my settings.json.bak": b'{"steps": 33}',
}


@dataclass(slots=True)
class Place:
    """One install.

    Args:
        name: "demo" or "sample".
        folder: Holds all that belongs to it; the install is a folder in it.
        root: The install.
        is_small: Whether it lies on a small disk of its own, which may be filled.
        seen: Digests that each file may have by its real name: planted or proven right.
    """

    name: str
    folder: Path
    root: Path
    is_small: bool = False
    seen: dict[str, set[str]] = field(default_factory=dict)

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def temp(self) -> Path:
        return self.folder / "tmp"

    @property
    def profile(self) -> Path:
        return self.folder / "sample.toml"

    @property
    def report(self) -> Path:
        return self.folder / "report" / "report.json"

    def fill(self) -> None:
        """Lay out the whole install and a person's files."""
        for path, content in {**GOOD, **CANARIES}.items():
            (self.root / path).parent.mkdir(parents=True, exist_ok=True)
            (self.root / path).write_bytes(content)
        (self.root / SETTINGS).write_text('{"steps": 20, "size": "64*64"}\n')
        self.temp.mkdir(exist_ok=True)
        self.note()

    def note(self) -> None:
        """Take what lies there now for planted: it may be found again."""
        for path in GOOD:
            self.seen.setdefault(path, {_DIGESTS[path]}).add(digest(self.root / path))

    def wrong_files(self) -> list[str]:
        """Return the model's files that are not right by their SHA-256."""
        return [path for path, wanted in _DIGESTS.items() if digest(self.root / path) != wanted]

    def allow(self) -> None:
        """Give the files their modes back: no repair takes a right that a person took away."""
        for path in GOOD:
            if (self.root / path).is_file():
                (self.root / path).chmod(0o644)

    def listing(self) -> dict[str, tuple[int, int]]:
        """Return size and time of change of each file of the install."""
        found = {}
        for path in self.root.rglob("*"):
            status = path.lstat()
            if not stat.S_ISDIR(status.st_mode):
                name = path.relative_to(self.root).as_posix()
                found[name] = (status.st_size, status.st_mtime_ns)
        return found

    def broken_promises(self) -> Iterator[str]:
        """Yield each file that is neither planted nor right, and each of a person that changed."""
        for path, known in self.seen.items():
            if (now := digest(self.root / path)) not in known:
                length = (self.root / path).stat().st_size
                yield f"{path} is neither planted nor right: {length} bytes, {now[:12]}"
        for path, content in CANARIES.items():
            if digest(self.root / path) != hashlib.sha256(content).hexdigest():
                yield f"{path} of a person was changed"

    def false_claims(self) -> Iterator[str]:
        """Yield each file that the last run calls healed, or whole after all bytes, and is not."""
        try:
            record = json.loads(self.report.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return  # a run that was killed may have none; that is no claim
        wrong = set(self.wrong_files())
        for finding in record["findings"]:
            check, _, subject = finding["check"].rstrip("]").partition("[")
            is_claim = finding["outcome"] == "healed" and check.startswith("weights.")
            is_claim |= finding["outcome"] == "passed" and check == "weights.sha256"
            if is_claim and subject in wrong:
                yield f"{finding['check']} is {finding['outcome']}, and its bytes are wrong"

    def temporary(self) -> list[str]:
        """Return what lies in the folder for temporary files, and empty it.

        What a program that was killed had there nobody can remove for it, pip's for one.
        """
        found = list(self.temp.iterdir())
        for path in found:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        return [path.name for path in found]

    def scratch(self) -> list[str]:
        """Return the scratch folders in the install, and remove them.

        A run that was killed cannot remove its own: the check `install.scratch` names it.
        """
        found = list(self.root.glob(".modelmedic-probe-*"))
        for path in found:
            shutil.rmtree(path)
        return [path.name for path in found]

    def leftovers(self) -> Iterator[str]:
        """Yield what only a run at work has: scratch, parts, locks and open journals."""
        for path in self.root.rglob("*"):
            name = path.relative_to(self.root).as_posix()
            if name == LOCK or path.name.startswith(".modelmedic-probe-") or name.endswith(".part"):
                yield f"{name} is left"
        for pending in journal.pending(self.state, self.root):
            yield f"the journal {pending} is not closed"


def digest(path: Path) -> str:
    """Return a file's SHA-256, or what else lies there; reads it also when its mode forbids."""
    try:
        mode = stat.S_IMODE(path.lstat().st_mode)
        if not mode & stat.S_IRUSR and os.geteuid() != 0:
            path.chmod(mode | stat.S_IRUSR)
            try:
                return hashlib.sha256(path.read_bytes()).hexdigest()
            finally:
                path.chmod(mode)
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except FileNotFoundError:
        return "nothing"
    except OSError as error:
        return f"unreadable: {error.strerror}"
