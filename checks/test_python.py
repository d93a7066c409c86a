"""The target's Python: the environment that the app runs in, never our own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from modelmedic.context import Context
from modelmedic.errors import Unhealthy
from modelmedic.facts import environment, interpreter, interpreter_fault, packages
from modelmedic.facts.book import FactBook
from modelmedic.facts.pip_commands import install_command, new_environment
from modelmedic.profile.model import Profile
from modelmedic.text import counted, printable

Degraded = Callable[..., None]


def warm(facts: FactBook) -> None:
    """Start the target's Python early: it takes longer than all the other facts of this area."""
    if facts.profile.python.is_required and facts.target_python is not None:
        facts.start(interpreter.read_interpreter)


@pytest.mark.check("python.target", area="python", severity="blocker")
@pytest.mark.recover("dependency_failure", using=["create_environment", "recreate_environment"])
def test_target_python_answers(facts: FactBook, profile: Profile, context: Context) -> None:
    """The Python that the app runs in starts and answers."""
    _skip_when_not_asked(profile)
    if facts.target_python is None:
        _no_environment(facts, context)
    try:
        facts.get(interpreter.read_interpreter)
    except interpreter_fault.InterpreterFault as fault:
        if not fault.is_proof:
            raise
        raise Unhealthy(
            fault.what,
            fault.why,
            fault.next_step or new_environment(facts),
            failure_id="venv-base-python-gone" if fault.kind == "base-gone" else None,
            evidence={
                "target": printable(facts.target_python),
                "chosen_because": context.target_reason,
                "fault": fault.kind,
            },
        ) from fault


@pytest.mark.check("python.version", area="python", needs=["python.target"], severity="blocker")
@pytest.mark.recover("dependency_failure", using=["recreate_environment"])
def test_python_version_fits(
    facts: FactBook, profile: Profile, context: Context, degraded: Degraded
) -> None:
    """The version of the app's Python is one that the model's packages support."""
    found = _interpreter(facts, profile, context)
    requires = profile.python.requires
    if not requires:
        pytest.skip("The profile names no Python version.")
    if found.implementation != "cpython":
        degraded(
            f"{printable(found.target)} is {printable(found.implementation)}, not CPython.",
            "Compiled packages such as torch are built for CPython only.",
            new_environment(facts),
        )
    if not packages.in_range(found.version, requires):
        lowest = _lower_bounds(requires)
        is_too_new = bool(lowest) and packages.in_range(found.version, lowest)
        raise Unhealthy(
            f"{printable(found.target)} is Python {found.version}; the app needs {requires}.",
            "pip finds no built packages for it and tries to compile them, which most often fails."
            if is_too_new
            else "The app's packages no longer support it.",
            new_environment(facts),
            failure_id="python-too-new" if is_too_new else None,
            evidence={"version": found.version, "requires": requires},
        )


@pytest.mark.check("python.environment", area="python", needs=["python.target"], severity="major")
@pytest.mark.recover("dependency_failure", using=["recreate_environment"])
def test_environment_is_whole(
    facts: FactBook, profile: Profile, context: Context, degraded: Degraded
) -> None:
    """The app has an environment of its own, whole and in the place it was made for."""
    found = _interpreter(facts, profile, context)
    venv = facts.get(environment.read_environment)
    if venv.folder is None:
        if not found.is_conda and not Path(found.prefix).is_relative_to(context.place):
            degraded(
                f"The app runs in {printable(found.prefix)}, a Python without an environment.",
                "Other programs share its packages: each can break the other.",
                new_environment(facts),
            )
    else:
        _judge_base(facts, venv, found)
        _judge_place(facts, venv, found)
    _judge_start(found, degraded)


@pytest.mark.check(
    "python.pip", area="python", needs=["python.target"], severity="major", stage="installed"
)
@pytest.mark.recover("dependency_failure", using=["restore_pip"])
def test_pip_works(facts: FactBook, profile: Profile, context: Context, degraded: Degraded) -> None:
    """The environment's own pip starts."""
    found = _interpreter(facts, profile, context)
    pip = facts.get(interpreter.read_pip)
    if pip.version:
        return
    target = printable(found.target)
    if "pip" not in found.installed and facts.get(environment.read_environment).maker == "uv":
        degraded(
            f"{target} has no pip.",
            "The environment was made by uv, which installs from outside of it; an installer that "
            "calls pip fails.",
            install_command(facts, found, ["pip"]),
        )
        return
    raise Unhealthy(
        f"pip does not start in {target}: exit code {pip.returncode}.",
        f"It said: {pip.error}."
        if "pip" in found.installed
        else "It is not installed in this environment.",
        packages.shell_words([found.target, "-m", "ensurepip", "--upgrade"])
        if found.has_ensurepip
        else f"Install the ensurepip part of Python {found.version} (Debian and Ubuntu: the "
        f"package python{_minor(found.version)}-venv), then: {new_environment(facts)}",
        failure_id=None if found.has_ensurepip else "ensurepip-missing",
        subject="pip",
        evidence={"exit_code": pip.returncode, "has_ensurepip": found.has_ensurepip},
    )


@pytest.mark.check("python.managed", area="python", needs=["python.target"], severity="blocker")
@pytest.mark.guidance("docs/checks.md#python-managed")
def test_pip_may_install_here(facts: FactBook, profile: Profile, context: Context) -> None:
    """The app's Python lets pip install packages."""
    found = _interpreter(facts, profile, context)
    if found.is_externally_managed:
        raise Unhealthy(
            f"{printable(found.target)} belongs to the operating system or another manager; "
            "pip refuses to install into it.",
            f"An EXTERNALLY-MANAGED file lies in {printable(found.stdlib)}, and this is no virtual "
            "environment.",
            new_environment(facts),
            failure_id="externally-managed-environment",
            evidence={"stdlib": printable(found.stdlib)},
        )


def _skip_when_not_asked(profile: Profile) -> None:
    if not profile.python.is_required:
        pytest.skip("The profile needs no Python environment.")


def _interpreter(facts: FactBook, profile: Profile, context: Context) -> interpreter.Interpreter:
    """Return the target's report; skip where there is nothing to ask."""
    _skip_when_not_asked(profile)
    if facts.target_python is None and not context.is_installed:
        pytest.skip("There is no environment yet; the installer makes one.")
    return facts.get(interpreter.read_interpreter)


def _no_environment(facts: FactBook, context: Context) -> NoReturn:
    if not context.is_installed:
        pytest.skip("There is no environment yet; the installer makes one.")
    raise Unhealthy(
        f"There is no Python environment in {printable(context.place)}.",
        "The app needs one of its own; none was given and none lies in the usual places.",
        new_environment(facts),
        evidence={"chosen_because": context.target_reason},
    )


def _judge_base(
    facts: FactBook, venv: environment.Environment, found: interpreter.Interpreter
) -> None:
    """Fail an environment whose Python is gone or is another than it was made with."""
    folder = printable(venv.folder)
    what = why = ""
    if venv.home and not venv.has_home:
        what = f"{folder} was made from {printable(venv.home)}, which holds no Python any more."
        why = "It was removed, moved or upgraded; what still runs is a copy without a home."
    elif venv.version and _minor(venv.version) != _minor(found.version):
        what = (
            f"{folder} was made for Python {printable(venv.version)} and now runs {found.version}."
        )
        why = "The Python below it was upgraded; packages installed before are not found any more."
    if what:
        raise Unhealthy(
            what,
            why,
            new_environment(facts),
            failure_id="venv-base-python-gone",
            evidence={"home": printable(venv.home), "made_for": printable(venv.version)},
        )


def _judge_place(
    facts: FactBook, venv: environment.Environment, found: interpreter.Interpreter
) -> None:
    """Fail an environment that was moved, copied or is not used by its own Python."""
    if not _is_same(found.prefix, str(venv.folder)):
        raise Unhealthy(
            f"{printable(found.target)} does not use its environment {printable(venv.folder)}; "
            f"it uses {printable(found.prefix)}.",
            "The environment was most often moved or copied by hand.",
            new_environment(facts),
            failure_id="wrong-interpreter-or-env",
        )
    if not Path(found.purelib).is_dir():
        raise Unhealthy(
            f"The environment's package folder {printable(found.purelib)} does not exist.",
            "It was removed, or the environment was made half.",
            new_environment(facts),
        )
    foreign = [script for script in venv.scripts if not script.is_own]
    if foreign:
        first = foreign[0]
        state = "exists elsewhere" if first.has_interpreter else "does not exist"
        raise Unhealthy(
            f"{len(foreign)} of {counted(len(venv.scripts), 'program')} in "
            f"{printable(found.target.parent)} start another Python: {printable(first.name)} "
            f"starts {printable(first.interpreter)}, which {state}.",
            "The environment was moved or renamed after it was made; its paths are fixed.",
            f"Start programs as `{packages.shell_words([found.target, '-m'])} NAME`, or make the "
            f"environment again: {new_environment(facts)}",
            failure_id="venv-base-python-gone",
            subject=first.name,
            evidence={"programs": len(venv.scripts), "foreign": len(foreign)},
        )


def _judge_start(found: interpreter.Interpreter, degraded: Degraded) -> None:
    if "Error processing line" in found.noise:
        degraded(
            f"A .pth file of the environment is broken: {found.noise}",
            "Python reports it at every start and leaves that line out.",
        )


def _lower_bounds(requires: str) -> str:
    """Return the part of a range that says "not older than"."""
    return ",".join(part for part in requires.split(",") if part.strip().startswith(">"))


def _minor(version: str) -> str:
    """Return "3.12" of "3.12.1"; only shown and compared for equality."""
    return ".".join(version.split(".")[:2])


def _is_same(one: str, other: str) -> bool:
    try:
        return Path(one).samefile(other)
    except OSError:
        return False
