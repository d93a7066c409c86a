"""Whether videos can be written: the target's ffmpeg tried, by a stand-in and by a real one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from app_support import App
from python_support import make_venv, site_packages
from support import make_profile

from modelmedic import rooms
from modelmedic.errors import CannotTell
from modelmedic.facts import encoder
from modelmedic.profile.model import Program, PythonNeeds, Requirement

ENCODER = rooms.load("checks", "test_app").test_a_video_can_be_encoded
PROGRAM = rooms.load("checks", "test_install").test_program_is_on_the_path

FRAMES = "\n".join(f"0, {n}, {n}, 1, 6144, 0x0000000{n}" for n in range(8))
WORKING = f"""case "$*" in
*libx264*) [ $(wc -c) = 98304 ] && for last; do :; done; echo video > "$last";;
*framecrc*) [ -s encoded.mp4 ] && printf '#tb 0: 1/16\\n{FRAMES}\\n';;
*-encoders*) printf ' V....D libx264  H.264\\n A....D aac   AAC\\n';;
esac"""


@pytest.fixture(scope="session")
def target(tmp_path_factory):
    return make_venv(tmp_path_factory.mktemp("target") / "venv")


def write_program(path: Path, script: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


NEEDS = make_profile(python=PythonNeeds(requirements=(Requirement("imageio-ffmpeg"),)))
posix = pytest.mark.skipif(sys.platform == "win32", reason="the stand-in is a shell script")


@pytest.fixture
def desk(tmp_path, target, monkeypatch):
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", "")
    monkeypatch.setenv("PATH", f"{tmp_path / 'programs'}:/usr/bin:/bin")

    def make(script=None, *, profile=NEEDS):
        place = tmp_path / "install"
        place.mkdir(exist_ok=True)
        if script is not None:
            program = write_program(tmp_path / "programs" / "ffmpeg", script)
            monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(program))
        return App(place, profile, target_python=target)

    return make


@posix
def test_frames_are_encoded_and_read_back_and_nothing_is_left(desk):
    app = desk(WORKING)
    found = app.facts.get(encoder.read_encoding)
    assert (found.frames, found.told_by, found.works) == (8, "IMAGEIO_FFMPEG_EXE", True)
    app.judge(ENCODER)
    assert list(app.context.place.iterdir()) == []


@posix
@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("echo \"Unknown encoder 'libx264'\" >&2; exit 1", "Unknown encoder 'libx264'"),
        (WORKING.replace("0, 7, 7", "# 7"), "gave back 7 of 8 frames"),
        ("cat >/dev/null; exit 139", "exit code 139"),
        ("cat >/dev/null", "gave back 0 of 8 frames"),
    ],
    ids=["no-codec", "short", "crash", "silent"],
)
def test_an_encoder_that_does_not_encode_is_said_with_its_words(desk, script, says):
    failure = desk(script).failure(ENCODER)
    assert says in failure.what
    assert "IMAGEIO_FFMPEG_EXE" in failure.next_step
    assert failure.failure_id == "video-encoder-broken"


@posix
@pytest.mark.parametrize(
    ("content", "mode", "says"),
    [(b"#!/bin/sh\n", 0o644, "Permission denied"), (b"\x7fELF\x02", 0o755, "format error")],
    ids=["mode", "format"],
)
def test_a_program_that_cannot_be_started_is_broken(desk, tmp_path, content, mode, says):
    app = desk("exit 0")
    program = tmp_path / "programs" / "ffmpeg"
    program.write_bytes(content)
    program.chmod(mode)
    failure = app.failure(ENCODER)
    assert says in failure.what
    assert failure.failure_id == "video-encoder-broken"


@posix
def test_an_environment_without_any_ffmpeg_says_how_to_get_one(desk, target, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    failure = desk().failure(ENCODER)
    assert "has no ffmpeg" in failure.what
    assert str(target) in failure.next_step
    assert "--force-reinstall --no-deps imageio-ffmpeg" in failure.next_step


@posix
def test_a_program_of_another_name_is_not_started(desk, tmp_path, monkeypatch):
    other = write_program(tmp_path / "programs" / "encode", f"touch {tmp_path}/started")
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(other))
    with pytest.raises(CannotTell, match="is not called ffmpeg"):
        desk().judge(ENCODER)
    assert not (tmp_path / "started").exists()


def test_a_profile_without_videos_needs_no_encoder(tmp_path):
    assert "does not ask" in App(tmp_path, make_profile()).skipped(ENCODER)


@posix
@pytest.mark.parametrize(
    ("listed", "is_required", "ends"),
    [(" A....D aac   AAC", True, "well"), (" V....D aac x\n A....D mp3 x", True, "failed"),
     (" A....D mp3 x", False, "degraded")],
)  # fmt: skip
def test_an_ffmpeg_that_makes_mute_videos_is_found(desk, listed, is_required, ends):
    app = desk(f"printf '{listed}\\n'")
    program = Program("ffmpeg", is_required=is_required)
    if ends == "failed":
        failure = app.failure(PROGRAM, program=program)
        assert failure.failure_id == "ffmpeg-missing-s2v-muted"
    else:
        app.judge(PROGRAM, program=program)
        assert bool(app.losses) is (ends == "degraded")


@pytest.mark.network
@pytest.mark.slow
def test_the_ffmpeg_of_a_real_imageio_ffmpeg_encodes(tmp_path, target, monkeypatch):
    monkeypatch.delenv("IMAGEIO_FFMPEG_EXE", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    environment = make_venv(tmp_path / "real")
    packages = site_packages(environment)
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--only-binary=:all:"]
    done = subprocess.run(
        [*pip, "--target", str(packages), "imageio-ffmpeg==0.6.0"],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        if os.environ.get("MODELMEDIC_TOOLS_REQUIRED") == "1":
            pytest.fail(done.stderr[-2000:])
        pytest.skip("imageio-ffmpeg cannot be had from the configured index")
    place = tmp_path / "install"
    place.mkdir()
    app = App(place, NEEDS, target_python=environment)
    found = app.facts.get(encoder.read_encoding)
    assert (found.told_by, found.frames, found.error) == ("imageio-ffmpeg", 8, "")
    monkeypatch.setenv("PATH", str(found.program.parent))
    listed = subprocess.run([found.program, "-encoders"], capture_output=True, check=True).stdout
    assert "aac" in encoder.parse_encoders(listed.decode())
    found.program.write_bytes(found.program.read_bytes()[: 1 << 20])  # cut short
    failure = App(place, NEEDS, target_python=environment).failure(ENCODER)
    assert failure.failure_id == "video-encoder-broken"
