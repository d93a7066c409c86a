"""The app's own code and lists of requirements, read as text: what it needs, what it lacks."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from modelmedic.context import Context
from modelmedic.errors import CannotTell, Unhealthy
from modelmedic.facts import app_code, interpreter, packages, requirement_files
from modelmedic.facts.book import FactBook
from modelmedic.facts.pip_commands import install_command
from modelmedic.profile.model import Profile
from modelmedic.text import counted, printable

Degraded = Callable[..., None]
_SHOWN = 4
# Distributions whose name is not that of their module.
_DISTRIBUTIONS = {
    "cv2": "opencv-python",
    "PIL": "pillow",
    "yaml": "PyYAML",
    "sklearn": "scikit-learn",
    "skimage": "scikit-image",
    "git": "GitPython",
    "hyperpyyaml": "HyperPyYAML",
    "whisper": "openai-whisper",
    "hydra": "hydra-core",
}
_ATTENTION = ("flash-attn", "flash-attn-3")


@pytest.mark.check(
    "python.undeclared", area="python", needs=["python.target", "python.app-code"],
    severity="blocker", stage="installed",
)  # fmt: skip
@pytest.mark.recover("dependency_failure")
def test_every_module_of_the_start_is_installed(facts: FactBook, profile: Profile) -> None:
    """Everything that the app's code imports at its start is installed.

    Its code is read, not run. What it imports only inside of functions, or goes on without, does
    not count.
    """
    found = _interpreter(facts, profile)
    code = _code(facts)
    asked = {each.name for each in profile.python.requirements}
    absent = [each for each in code.imports if not _is_there(found, each.module)]
    # What the profile asks for by name is python.package's to tell.
    untold = [
        each for each in absent if packages.normalised(_distribution(each.module)) not in asked
    ]
    if untold:
        shown = "; ".join(
            f"{printable(each.module)} ({printable(each.first)})" for each in untold[:_SHOWN]
        )
        more = f"; and {len(untold) - _SHOWN} more" if len(untold) > _SHOWN else ""
        names = [_distribution(each.module) for each in untold]
        raise Unhealthy(
            f"The app's code imports {counted(len(untold), 'module')} that no installed package "
            f"brings: {shown}{more}.",
            "It imports them at its start, for every task. Most often its list of requirements "
            "does not name them.",
            install_command(facts, found, names),
            failure_id="undeclared-imports-at-top-level",
            subject=packages.normalised(names[0]),
            evidence={each.module: str(each.first) for each in untold},
        )
    if not code.is_whole:
        raise CannotTell("A part of the app's code was left out: it is too large to be read.")


@pytest.mark.check(
    "python.attention", area="python", needs=["python.target", "python.app-code"],
    severity="blocker", stage="installed",
)  # fmt: skip
@pytest.mark.recover("dependency_failure")
def test_attention_has_a_way_without_flash_attn(facts: FactBook, profile: Profile) -> None:
    """The app's code has a way without flash_attn, or flash_attn is installed."""
    found = _interpreter(facts, profile)
    if any(name in found.installed for name in _ATTENTION):
        return
    if any(
        each.name in _ATTENTION and not each.is_optional for each in profile.python.requirements
    ):
        pytest.skip("The profile asks for flash_attn: python.package says that it is missing.")
    calls = _code(facts).direct_calls
    if calls:
        raise Unhealthy(
            f"flash_attn is not installed, and {counted(len(calls), 'line')} of the app's code "
            f"call it directly: {', '.join(printable(each) for each in calls[:_SHOWN])}.",
            "The way without it is in another function, which these lines pass by: the run ends in "
            "an assertion after minutes of loading.",
            "Install the build of flash_attn that fits torch and Python, or change these lines to "
            "call attention().",
            failure_id="flash-attn-missing-assert",
            subject="flash-attn",
            evidence={"calls": len(calls)},
        )


@pytest.mark.check(
    "python.app-code", area="python", needs=["install.folder"], severity="blocker",
    stage="installed",
)  # fmt: skip
@pytest.mark.guidance("docs/checks.md#python-app-code")
def test_the_app_code_is_of_one_piece(facts: FactBook, profile: Profile, context: Context) -> None:
    """The app's code is whole: every part that another part imports is there."""
    if not profile.python.is_required:
        pytest.skip("The profile needs no Python environment.")
    code = _code(facts)
    if code.broken:
        first = code.broken[0]
        raise Unhealthy(
            f"{counted(len(code.broken), 'file')} of the app's code cannot be read by Python: "
            f"{printable(first)}, {first.words}.",
            "Most often a merge that was not finished, or a file that was cut.",
            _restore(context),
            failure_id="component-version-skew",
            subject=first.path,
        )
    if code.gaps:
        shown = "; ".join(
            f"{printable(each.wanted)} ({printable(each.place)})" for each in code.gaps[:_SHOWN]
        )
        more = f"; and {len(code.gaps) - _SHOWN} more" if len(code.gaps) > _SHOWN else ""
        raise Unhealthy(
            f"The app's code imports {counted(len(code.gaps), 'part')} of its own that are not "
            f"there: {shown}{more}.",
            "Its files are of different versions: an update or a copy that was not finished.",
            _restore(context),
            failure_id="component-version-skew",
            subject=code.gaps[0].place.path,
            evidence={"gaps": len(code.gaps)},
        )
    if code.twins:
        twin = code.twins[0]
        raise Unhealthy(
            f"The class {printable(twin.name)} is defined twice in {printable(twin.place.path)}: "
            f"lines {twin.earlier_line} and {twin.place.line}.",
            "Python takes the last one. Most often two versions of the file were merged.",
            _restore(context),
            failure_id="component-version-skew",
            subject=twin.place.path,
        )


@pytest.mark.check(
    "python.app-package", area="python", needs=["python.target"], severity="major",
    stage="installed",
)  # fmt: skip
@pytest.mark.recover("dependency_failure")
def test_the_installed_app_is_complete(facts: FactBook, profile: Profile, context: Context) -> None:
    """If the app's own package is installed as well, it has all its parts."""
    found = _interpreter(facts, profile)
    own = {name.partition(".")[0] for name in _code(facts).modules}
    for item in found.installed.values():
        for module in sorted(own & set(item.modules)):
            missing = _missing_parts(Path(item.folder) / module, context.place / module)
            if missing and item.direct != "editable":
                raise Unhealthy(
                    f"{item.name} {item.version} is installed without "
                    f"{counted(len(missing), 'part')} of the app's code: "
                    f"{', '.join(missing[:_SHOWN])}.",
                    "Its pyproject.toml names no subpackages, so `pip install .` leaves them out; "
                    "outside of the app's folder the installed one is imported.",
                    packages.shell_words([found.target, "-m", "pip", "uninstall", "-y", item.key]),
                    failure_id="pip-install-dot-incomplete",
                    subject=item.key,
                    evidence={"missing": len(missing)},
                )


@pytest.mark.check(
    "python.requirement-lines", area="python", needs=["install.folder"], severity="major",
    stage="installed",
)  # fmt: skip
@pytest.mark.recover("dependency_failure", using=["write_clean_requirements"])
def test_every_requirement_line_names_a_package(
    facts: FactBook, profile: Profile, context: Context, degraded: Degraded
) -> None:
    """Every line of the app's lists of requirements is one that pip can install."""
    if not profile.python.is_required:
        pytest.skip("The profile needs no Python environment.")
    files = facts.get(requirement_files.read_requirement_files)
    if not files:
        pytest.skip("There are no requirements*.txt in the install folder.")
    for each in files:
        if each.faults and each.is_mended:
            degraded(
                f"pip cannot install {printable(each.path)}; its copy "
                f"{requirement_files.copy_name(each.path)} beside it can be installed.",
                "",
                packages.shell_words(
                    [
                        *(facts.target_python or "python3", "-m", "pip", "install", "-r"),
                        context.place / requirement_files.copy_name(each.path),
                    ]
                ),
            )
    faults = [fault for each in files if not each.is_mended for fault in each.faults]
    if faults:
        first = faults[0]
        shown = "; ".join(_line(each) for each in faults[:_SHOWN])
        more = f"; and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
        raise Unhealthy(
            f"{counted(len(faults), 'line')} of the app's requirements cannot be installed: "
            f"{shown}{more}.",
            "pip refuses a file with such a line as a whole; a standard module's name on an index "
            "is an old copy of it, or somebody else's package.",
            _line_cure(context, first),
            subject=first.path,
            evidence={f"{each.path}:{each.line}": each.kind for each in faults},
        )


def _interpreter(facts: FactBook, profile: Profile) -> interpreter.Interpreter:
    """Return the target's report; skip where there is nothing to ask."""
    if not profile.python.is_required:
        pytest.skip("The profile needs no Python environment.")
    return facts.get(interpreter.read_interpreter)


def _code(facts: FactBook) -> app_code.AppCode:
    code = facts.get(app_code.read_app_code)
    if not code.starts:
        pytest.skip("There is no code of the app in the install folder.")
    return code


def _is_there(found: interpreter.Interpreter, module: str) -> bool:
    """Return whether an ordinary start finds a module of that name."""
    if module in sys.stdlib_module_names or module in found.module_owners:
        return True
    if any(module in item.namespaces for item in found.distributions):
        return True
    folders = {*(item.folder for item in found.distributions), found.purelib, *found.path_variable}
    editable = {item.key for item in found.distributions if item.direct == "editable"}
    if packages.normalised(module) in editable:
        return True  # its folder is told by a hook, which is not run here
    return any(_lies_in(Path(folder), module) for folder in folders if folder)


def _lies_in(folder: Path, module: str) -> bool:
    """Return whether a folder holds a module that no RECORD tells of."""
    if (folder / module).is_dir() or (folder / f"{module}.py").is_file():
        return True
    return next(folder.glob(f"{module}.*.so"), None) is not None


def _distribution(module: str) -> str:
    return _DISTRIBUTIONS.get(module, module.replace("_", "-"))


def _missing_parts(installed: Path, local: Path) -> list[str]:
    """Return the subpackages that the app's folder has and the installed copy has not."""
    if not installed.is_dir() or not local.is_dir():
        return []
    parts = sorted(each.parent.name for each in local.glob("*/__init__.py"))
    return [name for name in parts if not (installed / name).is_dir()]


def _restore(context: Context) -> str:
    if (context.place / ".git").exists():
        status = packages.shell_words(["git", "-C", context.place, "status", "--short"])
        return f"`{status}` shows what differs; then check out one released version."
    return "Download one released version of the app's code and copy it over this one."


def _line(fault: requirement_files.LineFault) -> str:
    words = {
        "standard-module": "is a module of Python itself",
        "glued-comment": "has a comment without a blank before it",
        "option": "has an option behind the package",
        "unreadable": "is no requirement",
    }
    shown = printable(fault.text[:80])
    return f"{printable(fault.path)} line {fault.line}, {shown!r}, {words[fault.kind]}"


def _line_cure(context: Context, fault: requirement_files.LineFault) -> str:
    place = f"line {fault.line} of {printable(context.place / fault.path)}"
    if fault.cure:
        return f"Replace {place} by: {' / '.join(printable(each) for each in fault.cure)}"
    if fault.kind == "standard-module":
        return f"Remove {place}."
    return f"Correct {place}."
