"""The app's first run: its options, the name and the encoding of its video."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable

import pytest

from modelmedic import forecast
from modelmedic.context import Context
from modelmedic.errors import Unhealthy
from modelmedic.facts import app_options, disk, encoder, filesystem, interpreter, output_name
from modelmedic.facts.book import FactBook
from modelmedic.facts.pip_commands import install_command
from modelmedic.profile.model import Fit, Profile
from modelmedic.text import printable, quoted

Degraded = Callable[..., None]
Stated = Callable[[str], None]

# Prompts as people write them: punctuation that some file systems refuse, and letters of three
# bytes each, 50 of which the name takes and which fill its 255 bytes (eCryptfs: 143) sooner.
_PUNCTUATED = 'A "cat"? Yes: it runs | jumps'
_WIDE = "视" * 50
_PROMPT = "Two cats fight on a stage"


@pytest.mark.check(
    "install.app-options", area="install", needs=["install.folder"], severity="blocker",
    stage="installed",
)  # fmt: skip
@pytest.mark.guidance("docs/checks.md#install-app-options")
def test_app_takes_the_options_of_the_profile(
    facts: FactBook, profile: Profile, stated: Stated
) -> None:
    """The app's code knows the tasks, sizes and options that the profile runs it with."""
    code = _code(facts, profile)
    for fit in profile.fits:
        _judge_task(code, fit)
        _judge_sizes(code, fit)
        _judge_flags(code, fit)
    for task in dict.fromkeys(fit.task for fit in profile.fits):
        taken = code.sizes_of(task)
        if taken and code.default_size and code.default_size not in taken:
            stated(
                f"Give {app_options.PROGRAM} a size for {task}: --size {quoted(taken[0])}; its "
                f"default {code.default_size} is refused for this task."
            )


def _judge_task(code: app_options.AppOptions, fit: Fit) -> None:
    if not fit.task or fit.task in code.tasks:
        return
    near = next((task for task in code.tasks if _bare(task) == _bare(fit.task)), "")
    raise Unhealthy(
        f"{app_options.PROGRAM} does not know the task {printable(fit.task)}; it knows "
        f"{printable(', '.join(code.tasks))}.",
        "Names are compared letter by letter; most often the app is older than the model.",
        f"Write `--task {near}`." if near else "Update the app: `git pull` in its folder.",
        failure_id="unsupported-size-or-task",
        subject=app_options.TABLES,
    )


def _bare(task: str) -> str:
    return task.lower().replace("_", "").replace("-", "")


def _judge_sizes(code: app_options.AppOptions, fit: Fit) -> None:
    taken = code.sizes_of(fit.task)
    wrong = [size for size in fit.sizes if taken and size not in taken]
    if not wrong:
        return
    near = min(taken, key=lambda size: abs(_area(size) - _area(wrong[0])))
    raise Unhealthy(
        f"{app_options.PROGRAM} refuses --size {printable(wrong[0])} for {printable(fit.task)}; it "
        f"takes {printable(', '.join(taken))}.",
        "The run ends in 'Unsupport size' after its imports.",
        f"Write `--size {quoted(near)}`, in quotes: a bare * is one for the shell.",
        failure_id="unsupported-size-or-task",
        subject=app_options.TABLES,
        evidence={"size": printable(wrong[0]), "task": printable(fit.task)},
    )


def _area(size: str) -> int:
    numbers = [int(part) for part in size.split("*") if part.isdecimal()]
    return numbers[0] * numbers[1] if len(numbers) == 2 else 0  # noqa: PLR2004 - width, height


def _judge_flags(code: app_options.AppOptions, fit: Fit) -> None:
    wrong = [word for word in fit.flags.split() if word.startswith("--")]
    wrong = [word for word in wrong if word.partition("=")[0] not in code.options]
    if code.options and wrong:
        raise Unhealthy(
            f"{app_options.PROGRAM} has no option {printable(', '.join(wrong))}, which the profile "
            "runs it with.",
            "Most often the app is older than the profile; it then ends with 'unrecognized "
            "arguments'.",
            "Update the app: `git pull` in its folder.",
            failure_id="unsupported-size-or-task",
            subject=app_options.PROGRAM,
        )


@pytest.mark.check(
    "install.output-name", area="install", needs=["permissions.install-folder"], severity="major"
)
@pytest.mark.guidance("docs/checks.md#install-output-name")
def test_default_name_of_a_video_can_be_a_file(
    facts: FactBook, context: Context, profile: Profile, degraded: Degraded
) -> None:
    """The name that the app gives a video by itself can be a file where it writes it."""
    fit = next((fit for fit in profile.fits if fit.task and fit.sizes), None)
    if fit is None:
        pytest.skip("The profile names no task and size, so no name can be derived.")
    _ask_writable(facts, context)
    prompt = _PROMPT
    if context.is_installed:
        prompt = dict(facts.get(app_options.read_app_options).prompts).get(fit.task, _PROMPT)
    names = tuple(
        output_name.default_name(fit.task, fit.sizes[0], text)
        for text in (prompt, _PUNCTUATED, _WIDE)
    )
    plain, *special = facts.get(output_name.read_name_trials, names)
    save = f"{forecast.command(fit, _folder(context))} --save_file video.mp4"
    why = (
        "generate.py makes the name of task, size and prompt. When it cannot be written, the whole "
        "run is lost: some versions only note it, print 'Finished.' and end with 0."
    )
    if plain.error:
        raise Unhealthy(
            f"A file called {printable(plain.name)} cannot be made in "
            f"{printable(context.place)}: {printable(plain.error)}.",
            why,
            f"Always name the file yourself: `{save}`.",
            failure_id="output-filename-invalid",
            evidence={"name": printable(plain.name), "error": printable(plain.error)},
        )
    if refused := next((trial for trial in special if trial.error), None):
        degraded(
            f"With some prompts the default name cannot be a file here: {printable(refused.name)}: "
            f"{printable(refused.error)}.",
            why,
            f"Name the file yourself: `{save}`.",
            failure_id="output-filename-invalid",
        )


@pytest.mark.check(
    "install.video-encoder", area="install", needs=["python.target"], severity="major",
    stage="installed",
)  # fmt: skip
@pytest.mark.guidance("docs/checks.md#install-video-encoder")
def test_a_video_can_be_encoded(facts: FactBook, profile: Profile, context: Context) -> None:
    """The ffmpeg of the app's environment encodes a few frames, and they can be read back."""
    asked = {each.name: each for each in profile.python.requirements}
    if encoder.DISTRIBUTION not in asked:
        pytest.skip("The profile does not ask for imageio-ffmpeg.")
    _ask_writable(facts, context)
    found = facts.get(encoder.read_encoding)
    if found.works:
        return
    words = ["--force-reinstall", "--no-deps", encoder.DISTRIBUTION]
    command = install_command(facts, facts.get(interpreter.read_interpreter), words)
    again = f"Install its ffmpeg again: `{command}`."
    if found.program is None:
        raise Unhealthy(
            "The app's environment has no ffmpeg to write videos with.",
            "imageio-ffmpeg brings one; it is not installed, or its file was removed, most often "
            "by a virus scanner.",
            again,
            failure_id="video-encoder-broken",
        )
    wrong = f" It says: {printable(found.error)}." if found.error else ""
    raise Unhealthy(
        f"{printable(found.program)} gave back {found.frames} of {encoder.FRAMES} frames (exit "
        f"code {found.returncode}).{wrong}",
        "The app would compute the whole video and then lose it without an error.",
        f"Remove {encoder.VARIABLE} from the environment, or let it name a working ffmpeg."
        if found.told_by == encoder.VARIABLE
        else again,
        failure_id="video-encoder-broken",
        evidence={"program": printable(found.program), "returncode": found.returncode},
    )


@pytest.mark.check("install.prompt-extension", area="install", severity="major")
@pytest.mark.guidance("docs/checks.md#install-prompt-extension")
def test_prompt_extension_has_what_it_needs(
    context: Context, profile: Profile, degraded: Degraded
) -> None:
    """Where the profile lets prompts be extended, its key or its model is there."""
    flags = [
        shlex.split(text) for text in (profile.hardware.flags, *(f.flags for f in profile.fits))
    ]
    used = next((words for words in flags if "--use_prompt_extend" in words), None)
    if used is None:
        pytest.skip("The profile runs the app without --use_prompt_extend.")
    if _value(used, "--prompt_extend_method") == "dashscope":
        if not os.environ.get("DASH_API_KEY"):
            raise Unhealthy(
                "--use_prompt_extend asks the service DashScope, and DASH_API_KEY is not set.",
                "The run ends with 'DASH_API_KEY is not set'; the key is yours to get.",
                "Leave --use_prompt_extend out for the first run, or set DASH_API_KEY.",
                failure_id="prompt-extend-needs-key-or-download",
            )
        return
    model = _value(used, "--prompt_extend_model")
    if not model or not (context.place / model).is_dir():
        degraded(
            "--use_prompt_extend downloads a Qwen model on the first run, up to 28 GB.",
            "Its method local_qwen takes no folder of this install, and it needs flash_attn.",
            "Leave --use_prompt_extend out for the first run, or give --prompt_extend_model the "
            "folder of a downloaded model.",
            failure_id="prompt-extend-needs-key-or-download",
        )


def _value(words: list[str], option: str) -> str:
    """Return what follows an option of a command line, "" when it is not there."""
    for word, following in zip(words, [*words[1:], ""], strict=True):
        if word == option:
            return following
        if word.startswith(f"{option}="):
            return word.partition("=")[2]
    return ""


def _code(facts: FactBook, profile: Profile) -> app_options.AppOptions:
    if not profile.fits:
        pytest.skip("The profile states no ways to run an app.")
    code = facts.get(app_options.read_app_options)
    if not code.is_there:
        pytest.skip(f"The app's code ({app_options.PROGRAM}) is not in the install folder.")
    return code


def _ask_writable(facts: FactBook, context: Context) -> None:
    """Skip where nothing may be written: a store that is read only on purpose."""
    folder = facts.get(disk.read_volume, context.place).folder
    if facts.get(filesystem.read_scratch, folder).create.works is False:
        pytest.skip(
            f"Nothing can be written in {printable(folder)}; permissions.install-folder says why. "
            "Let the app write elsewhere with --save_file."
        )


def _folder(context: Context) -> str:
    first = next(iter(context.model_folders), ".")
    return "" if first == "." else f"./{first}"
