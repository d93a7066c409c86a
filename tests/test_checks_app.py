"""The app's first run as its checks judge it: code, names of videos, prompts."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest
from app_support import CONFIGS, GENERATE, TI2V, App, write_app
from support import make_profile

from modelmedic import rooms
from modelmedic.errors import CannotTell
from modelmedic.facts import app_options, filesystem, output_name
from modelmedic.facts.filesystem import Scratch, Trial
from modelmedic.facts.output_name import NameTrial, default_name
from modelmedic.facts.scratch import Room
from modelmedic.profile.model import Fit

checks = rooms.load("checks", "test_app")
OPTIONS = checks.test_app_takes_the_options_of_the_profile
NAME = checks.test_default_name_of_a_video_can_be_a_file
PROMPT = checks.test_prompt_extension_has_what_it_needs


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
