"""The app's first run as its checks judge it: code, names of videos, encoder, prompts."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hardware_support import Given, Losses
from profile_texts import load
from python_support import make_venv, site_packages
from support import make_context, make_profile

from modelmedic import rooms
from modelmedic.errors import CannotTell, Unhealthy
from modelmedic.facts import app_options, encoder, filesystem, output_name
from modelmedic.facts.filesystem import Scratch, Trial
from modelmedic.facts.output_name import NameTrial, default_name
from modelmedic.facts.scratch import Room
from modelmedic.profile.model import Fit, Program, PythonNeeds, Requirement

checks = rooms.load("checks", "test_app")
installs = rooms.load("checks", "test_install")
OPTIONS, NAME, ENCODER, PROMPT = (
    checks.test_app_takes_the_options_of_the_profile,
    checks.test_default_name_of_a_video_can_be_a_file,
    checks.test_a_video_can_be_encoded,
    checks.test_prompt_extension_has_what_it_needs,
)
TI2V = load("wan2.2-ti2v-5b")

# In the shape of the app's own files; every word of it is ours.
GENERATE = """
import argparse
import torch
EXAMPLE_PROMPT = {"ti2v-5B": {"prompt": "Two cats: one stage?"}, "t2v-A14B": {"image": "x"}}
def parse():
    parser = argparse.ArgumentParser()
    parser.add_argument("--task", type=str, default="t2v-A14B", choices=list(WAN_CONFIGS.keys()))
    parser.add_argument("--size", type=str, default="1280*720")
    for_all = parser.add_argument
    parser.add_argument("--offload_model", type=str2bool, default=None)
    parser.add_argument("--convert_model_dtype", action="store_true", default=False)
    parser.add_argument("--t5_cpu", action="store_true")
"""
CONFIGS = """
from .wan_t2v_A14B import t2v_A14B
WAN_CONFIGS = {"t2v-A14B": t2v_A14B, "ti2v-5B": ti2v_5B}
SUPPORTED_SIZES = {
    "t2v-A14B": ("720*1280", "1280*720", "480*832", "832*480"),
    "ti2v-5B": ("704*1280", "1280*704"),
}
"""


def write_app(place: Path, generate: str = GENERATE, configs: str = CONFIGS) -> None:
    (place / "wan" / "configs").mkdir(parents=True, exist_ok=True)
    (place / "generate.py").write_text(generate, encoding="utf-8")
    (place / "wan" / "configs" / "__init__.py").write_text(configs, encoding="utf-8")


class App:
    def __init__(self, place, profile=TI2V, given=None, **context):
        self.profile = profile
        self.context = make_context(place, profile, **context)
        self.facts = Given(self.context, given or {})
        self.losses, self.stated = Losses(), []

    def judge(self, check, **more):
        known = {
            "facts": self.facts, "profile": self.profile, "context": self.context,
            "degraded": self.losses, "stated": self.stated.append, **more,
        }  # fmt: skip
        wanted = check.__code__.co_varnames[: check.__code__.co_argcount]
        return check(**{name: known[name] for name in wanted})

    def failure(self, check, **more) -> Unhealthy:
        with pytest.raises(Unhealthy) as caught:
            self.judge(check, **more)
        assert caught.value.what
        assert caught.value.next_step
        return caught.value

    def skipped(self, check) -> str:
        with pytest.raises(pytest.skip.Exception) as caught:
            self.judge(check)
        return str(caught.value)


# --- the app's code


def test_the_code_is_read_without_running_it(tmp_path):
    write_app(tmp_path)
    code = App(tmp_path).facts.get(app_options.read_app_options)
    assert code.tasks == ("t2v-A14B", "ti2v-5B")
    assert code.sizes_of("ti2v-5B") == ("704*1280", "1280*704")
    assert code.options == {
        "--task",
        "--size",
        "--offload_model",
        "--convert_model_dtype",
        "--t5_cpu",
    }
    assert code.default_size == "1280*720"
    assert code.prompts == (("ti2v-5B", "Two cats: one stage?"),)


def test_an_app_that_takes_the_profile_is_healthy_and_its_default_is_warned_of(tmp_path):
    write_app(tmp_path)
    app = App(tmp_path)
    app.judge(OPTIONS)
    [words] = app.stated
    assert "--size '704*1280'" in words
    assert "default 1280*720 is refused" in words


@pytest.mark.parametrize(
    ("configs", "what", "next_step"),
    [
        (CONFIGS.replace("ti2v-5B", "ti2v_5b"), "does not know the task ti2v-5B",
         "Write `--task ti2v_5b`."),
        (CONFIGS.replace('"ti2v-5B": ti2v_5B', ""), "does not know the task ti2v-5B", "git pull"),
        (CONFIGS.replace('"1280*704"', '"1280*720"').replace('"704*1280", ', '"480*832", '),
         "refuses --size 1280*704 for ti2v-5B; it takes 480*832, 1280*720", "--size '1280*720'"),
    ],
    ids=["spelling", "older", "size"],
)  # fmt: skip
def test_a_task_or_size_that_the_code_refuses_is_named_with_the_nearest(
    tmp_path, configs, what, next_step
):
    write_app(tmp_path, configs=configs)
    failure = App(tmp_path).failure(OPTIONS)
    assert what in failure.what
    assert next_step in failure.next_step
    assert failure.failure_id == "unsupported-size-or-task"


def test_an_option_that_the_code_does_not_have_is_named(tmp_path):
    write_app(tmp_path, generate=GENERATE.replace("--t5_cpu", "--t5_gpu"))
    failure = App(tmp_path).failure(OPTIONS)
    assert "has no option --t5_cpu" in failure.what


def test_a_newer_app_that_takes_more_sizes_is_healthy(tmp_path):
    more = CONFIGS.replace('("704*1280", "1280*704")', '("704*1280", "1280*704", "480*832")')
    write_app(tmp_path, configs=more)
    App(tmp_path).judge(OPTIONS)


def test_weights_without_the_app_are_not_judged(tmp_path):
    assert "not in the install folder" in App(tmp_path).skipped(OPTIONS)
    assert "no ways" in App(tmp_path, make_profile()).skipped(OPTIONS)


@pytest.mark.parametrize(
    ("generate", "configs"),
    [
        ("<<<<<<< HEAD\n", CONFIGS),
        (GENERATE, "WAN_CONFIGS = make()\n"),
        ("x = " + "-" * 50_000 + "1", CONFIGS),
    ],
    ids=["merge", "other", "deep"],
)
def test_code_that_cannot_be_read_is_unknown(tmp_path, generate, configs):
    write_app(tmp_path, generate, configs)
    with pytest.raises(CannotTell, match=r"is no Python|does not hold"):
        App(tmp_path).judge(OPTIONS)


# --- the name of a video


def test_the_default_name_is_the_one_of_the_app():
    assert default_name("ti2v-5B", "1280*704", "a/b c", "linux") == (
        "ti2v-5B_1280*704_1_a_b_c_20260101_000000.mp4"
    )
    assert default_name("ti2v-5B", "1280*704", "x" * 99, "win32") == (
        f"ti2v-5B_1280x704_1_{'x' * 50}_20260101_000000.mp4"
    )


@pytest.mark.skipif(sys.platform == "win32", reason="Windows refuses some of these names")
def test_names_are_really_made_and_nothing_is_left(tmp_path):
    app = App(tmp_path)
    names = ("plain.mp4", 'A_"cat"?_Yes:_it.mp4', "n" * 300, "nul\0.mp4")
    plain, odd, long, nul = app.facts.get(output_name.read_name_trials, names)
    assert (plain.error, odd.error) == ("", "")
    assert long.error
    assert nul.error
    assert list(tmp_path.iterdir()) == []
    app.judge(NAME)
    assert app.losses == []


def test_a_file_that_comes_out_under_another_name_is_no_file_of_that_name(tmp_path, monkeypatch):
    write = Room.write
    # As NTFS does with "a:b": a stream of the file "a", and no error.
    monkeypatch.setattr(
        Room, "write", lambda self, name, data: write(self, name.partition(":")[0], data)
    )
    [trial] = App(tmp_path).facts.get(output_name.read_name_trials, ("cats:dogs.mp4",))
    assert trial.error == "the file came out under another name"


def trials(monkeypatch, *errors):
    tried = []

    def read(_facts, names):
        tried.extend(names)
        return tuple(map(NameTrial, names, errors))

    monkeypatch.setattr(output_name, "read_name_trials", read)
    return tried


def test_a_disk_that_refuses_the_star_loses_every_video(tmp_path, monkeypatch):
    write_app(tmp_path)
    tried = trials(monkeypatch, "Invalid argument", "Invalid argument", "")
    failure = App(tmp_path).failure(NAME)
    assert tried[0].startswith("ti2v-5B_1280")
    assert "Two_cats:_one_stage?" in tried[0]  # the app's own example
    assert "Invalid argument" in failure.what
    assert failure.next_step.endswith("--ckpt_dir ./Wan2.2-TI2V-5B --save_file video.mp4`.")
    assert failure.failure_id == "output-filename-invalid"


def test_a_disk_that_refuses_some_prompts_is_a_stated_loss(tmp_path, monkeypatch):
    trials(monkeypatch, "", "Invalid argument", "")
    app = App(tmp_path)
    app.judge(NAME)
    assert app.losses[0][3] == "output-filename-invalid"
    assert "--save_file" in app.losses[0][2]


def test_a_store_that_is_read_only_is_not_written_to(tmp_path):
    closed = Scratch(tmp_path, 1, "ext4", create=Trial(works=False, error="Read-only", errno=30))
    app = App(tmp_path, given={filesystem.read_scratch: closed})
    assert "--save_file" in app.skipped(NAME)


# --- the encoder

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
        failure = app.failure(installs.test_program_is_on_the_path, program=program)
        assert failure.failure_id == "ffmpeg-missing-s2v-muted"
    else:
        app.judge(installs.test_program_is_on_the_path, program=program)
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


# --- prompts


def extending(flags):
    return replace(TI2V, fits=(Fit("x", flags=flags, source="test"),))


def test_the_service_needs_its_key(tmp_path, monkeypatch):
    monkeypatch.delenv("DASH_API_KEY", raising=False)
    profile = extending("--use_prompt_extend --prompt_extend_method=dashscope")
    failure = App(tmp_path, profile).failure(PROMPT)
    assert failure.failure_id == "prompt-extend-needs-key-or-download"
    monkeypatch.setenv("DASH_API_KEY", "sk-not-a-key")
    App(tmp_path, profile).judge(PROMPT)


def test_the_local_model_is_a_large_download_unless_it_is_there(tmp_path):
    flags = "--use_prompt_extend --prompt_extend_method local_qwen --prompt_extend_model Qwen"
    app = App(tmp_path, extending(flags))
    app.judge(PROMPT)
    assert "28 GB" in app.losses[0][0]
    (tmp_path / "Qwen").mkdir()
    app = App(tmp_path, extending(flags))
    app.judge(PROMPT)
    assert app.losses == []


def test_a_profile_that_extends_no_prompts_is_not_judged(tmp_path):
    assert "--use_prompt_extend" in App(tmp_path).skipped(PROMPT)
