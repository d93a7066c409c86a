"""Whether videos can be written: the target's own ffmpeg, found as imageio finds it, tried."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from modelmedic.commands import Completed, run
from modelmedic.errors import CannotTell
from modelmedic.facts import disk, filesystem
from modelmedic.facts.book import FactBook, probe
from modelmedic.facts.interpreter import Interpreter, read_interpreter
from modelmedic.facts.programs import read_program
from modelmedic.facts.scratch import Room

VARIABLE = "IMAGEIO_FFMPEG_EXE"
DISTRIBUTION = "imageio-ffmpeg"
FRAMES, SIDE = 8, 64
_FILE = "encoded.mp4"
_STEP_SECONDS = 8.0  # two steps within the probe's limit
_SHOWN = 300
_NOT_STARTED = 126  # what a shell returns for a program that may not be run or is none


@dataclass(frozen=True, slots=True)
class Encoding:
    """How encoding a few frames ended. ``program`` None: there is no ffmpeg to try."""

    program: Path | None
    told_by: str = ""  # "IMAGEIO_FFMPEG_EXE", "imageio-ffmpeg", "conda", "PATH"
    frames: int = 0  # that could be read back
    returncode: int = 0
    error: str = ""  # the last words of ffmpeg, "" when it said none

    @property
    def works(self) -> bool:
        """Return whether every frame came back."""
        return self.program is not None and self.frames == FRAMES


@probe("video_encode", writes="scratch", spawns=("ffmpeg*",))
def read_encoding(facts: FactBook) -> Encoding:
    """Encode eight frames into the scratch folder as the app does, and read them back.

    Raises:
        CannotTell: The target's Python gave no answer, nothing can be written, or the program
            that IMAGEIO_FFMPEG_EXE names is not called ffmpeg, so it is not started.
    """
    found = next(programs(facts.get(read_interpreter)), None)
    if found is None:
        return Encoding(None)
    program, told_by = found
    if not program.name.lower().startswith("ffmpeg"):
        raise CannotTell(f"{told_by} names {program}, which is not called ffmpeg; it is not run.")
    folder = facts.get(disk.read_volume, facts.context.place).folder
    facts.get(filesystem.read_scratch, folder)  # one at a time: both use the one scratch folder
    room = Room(folder, facts.context.scratch_name)
    try:
        room.make()
        return _tried_to_start(Encoding(program, told_by), room.path)
    except OSError as error:
        raise CannotTell(f"Nothing can be tried in {folder}: {error.strerror}.") from error
    finally:
        room.remove()


def programs(target: Interpreter) -> Iterator[tuple[Path, str]]:
    """Yield the ffmpeg programs that imageio would take, first its first choice.

    Source: imageio_ffmpeg/_utils.py, get_ffmpeg_exe.
    """
    if given := os.environ.get(VARIABLE):
        yield Path(shutil.which(given) or given), VARIABLE
        return  # it takes that one, whatever it is
    if owner := target.installed.get(DISTRIBUTION):
        binaries = Path(owner.folder) / "imageio_ffmpeg" / "binaries"
        yield from ((path, DISTRIBUTION) for path in sorted(binaries.glob("ffmpeg-*")))
    tail = ("Library", "bin", "ffmpeg.exe") if sys.platform == "win32" else ("bin", "ffmpeg")
    if (conda := Path(target.prefix, *tail)).is_file():
        yield conda, "conda"
    if system := shutil.which("ffmpeg"):
        yield Path(system), "PATH"


def _tried_to_start(encoding: Encoding, folder: Path) -> Encoding:
    """Try it; one that the system refuses to start is broken, not unknown."""
    try:
        return _tried(encoding, folder)
    except CannotTell as error:
        if isinstance(error.__cause__, OSError):
            reason = error.__cause__.strerror or str(error.__cause__)
            return replace(encoding, returncode=_NOT_STARTED, error=reason)
        raise


def _tried(encoding: Encoding, folder: Path) -> Encoding:
    """Run the two steps.

    Source: wan/utils/utils.py, save_video: imageio with codec libx264 and quality 8, which
    imageio_ffmpeg turns into -crf 10 and -pix_fmt yuv420p.
    """
    raw = ["-f", "rawvideo", "-vcodec", "rawvideo", "-s", f"{SIDE}x{SIDE}", "-pix_fmt", "rgb24"]
    codec = ["-an", "-vcodec", "libx264", "-pix_fmt", "yuv420p", "-crf", "10"]
    written = _run(encoding, folder, [*raw, "-r", "16", "-i", "-", *codec, _FILE], _picture())
    if written.returncode != 0:
        return replace(encoding, returncode=written.returncode, error=_last(written))
    back = _run(encoding, folder, ["-i", _FILE, "-f", "framecrc", "-"], "")
    lines = [line for line in back.stdout.splitlines() if line and not line.startswith("#")]
    return replace(
        encoding, frames=len(lines), returncode=back.returncode, error=_last(back) or _last(written)
    )


def _run(encoding: Encoding, folder: Path, options: list[str], stdin: str) -> Completed:
    argv = [str(encoding.program), "-hide_banner", "-nostats", "-v", "error", "-y", *options]
    return run(argv, deadline_seconds=_STEP_SECONDS, cwd=folder, stdin=stdin)


def _picture() -> str:
    """Return the bytes of the frames, all below 128 and so one for one in UTF-8."""
    return "".join(chr(n * 7 % 128) for n in range(FRAMES * SIDE * SIDE * 3))


def _last(done: Completed) -> str:
    return done.stderr.strip()[-_SHOWN:]


@probe("video_encode", spawns=("ffmpeg*",))
def read_audio_encoders(facts: FactBook, program: str = "ffmpeg") -> frozenset[str]:
    """Return the audio encoders of the program ``ffmpeg`` that the app would start.

    Raises:
        CannotTell: There is none, or it does not tell.
    """
    path = facts.get(read_program, program)
    if path is None:
        raise CannotTell(f"There is no program {program}.")
    done = run([path, "-hide_banner", "-encoders"], deadline_seconds=_STEP_SECONDS)
    if done.returncode != 0:
        raise CannotTell(f"{path} ended with code {done.returncode}.", _last(done))
    return parse_encoders(done.stdout)


def parse_encoders(text: str) -> frozenset[str]:
    """Return the audio encoders of ``ffmpeg -encoders``: lines such as " A....D aac   AAC"."""
    rows = (line.split() for line in text.splitlines())
    return frozenset(row[1] for row in rows if len(row) > 1 and row[0].startswith("A."))
