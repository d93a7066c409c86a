"""What lies in the environment: whole packages, one owner for each module, nothing before them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from modelmedic.context import Context
from modelmedic.errors import CannotTell, Unhealthy
from modelmedic.facts import file_words, interpreter, packages, requirement_files
from modelmedic.facts.book import FactBook
from modelmedic.facts.pip_commands import install_command, settle_command
from modelmedic.profile.model import Profile
from modelmedic.text import counted, printable

Degraded = Callable[..., None]
_SHOWN = 4
_NOT_WHOLE = frozenset({"broken", "no-record", "duplicate"})
# Top-level folders that many packages leave beside their own by mistake; nobody imports them.
_JUNK = frozenset(
    {"test", "tests", "docs", "doc", "examples", "example", "scripts", "benchmarks", "tools"}
)
# From this version on pynvml brings no module of that name any more: 12 only asks for
# nvidia-ml-py, 13 adds a hook that warns at each import. Source: its releases 11.5.3 to 13.0.1.
_PYNVML_WITHOUT_MODULE = "12"


@pytest.mark.check("python.files", area="python", needs=["python.target"], severity="major")
@pytest.mark.recover("dependency_failure")
def test_installed_packages_are_whole(
    facts: FactBook, profile: Profile, context: Context, degraded: Degraded
) -> None:
    """Every installed package has all its files, none of them cut short.

    Compared with what the installer wrote down (RECORD), by existence and size.
    """
    found = _interpreter(facts, profile, context)
    inside = [item for item in found.distributions if item.folder != found.user_site]
    _judge_metadata(facts, profile, found, inside)
    shared = _sharing(found)
    torn = file_words.torn(item for item in inside if item.key not in shared)
    broken = [each for each in torn if each.is_fatal]
    if broken:
        raise file_words.half_installed(facts, found, broken)
    if torn:
        degraded(*file_words.lesser(torn))
    _all_judged(inside)


@pytest.mark.check("python.leftovers", area="python", needs=["python.target"], severity="minor")
@pytest.mark.recover("dependency_failure", using=["set_aside_leftovers"])
def test_no_interrupted_pip_left_folders_behind(
    facts: FactBook, profile: Profile, context: Context
) -> None:
    """No folder lies among the packages that an interrupted pip had moved aside."""
    found = _interpreter(facts, profile, context)
    if found.leftovers:
        names = ", ".join(printable(path) for path in found.leftovers[:_SHOWN])
        raise Unhealthy(
            f"An interrupted pip left {counted(len(found.leftovers), 'folder')} behind: {names}.",
            "They take space, and pip warns about an 'invalid distribution' at every run.",
            "Close the app, then move them out of that folder.",
            failure_id="half-installed-package",
            evidence={f"leftover_{n}": printable(p) for n, p in enumerate(found.leftovers, 1)},
        )


@pytest.mark.check("python.owners", area="python", needs=["python.target"], severity="major")
@pytest.mark.recover("dependency_failure")
def test_every_module_has_one_owner(
    facts: FactBook, profile: Profile, context: Context, degraded: Degraded
) -> None:
    """No two installed packages bring the same module."""
    found = _interpreter(facts, profile, context)
    conflicts = packages.find_conflicts(found.distributions, found.marker_environment)
    shared = [each for each in conflicts if each.kind == "shared-module"]
    if shared:
        raise Unhealthy(
            f"{printable(shared[0].words)}.",
            "They share one folder, so removing one breaks the other.",
            settle_command(facts, found, profile, shared[:1]),
            failure_id="opencv-duplicates-or-libgl",
            subject=shared[0].name,
            evidence={"packages": f"{shared[0].name}, {shared[0].other}"},
        )
    asked = {each.name for each in profile.python.requirements}
    for module, owners in found.clashes:
        if module in _JUNK or not owners or owners[0] == owners[-1]:
            continue
        if module == "pynvml" or asked & set(owners):
            raise _two_owners(found, module, owners, asked)
        degraded(*_clash_words(module, owners))
    _judge_pynvml(facts, found, degraded)


@pytest.mark.check("python.shadowing", area="python", needs=["python.target"], severity="major")
@pytest.mark.guidance("docs/checks.md#python-shadowing")
def test_nothing_comes_before_the_packages(
    facts: FactBook, profile: Profile, context: Context, degraded: Degraded
) -> None:
    """Nothing of the app's folder, PYTHONPATH or the user stands before an installed package."""
    found = _interpreter(facts, profile, context)
    asked = {each.name for each in profile.python.requirements}
    if found.home_variable:
        raise Unhealthy(
            f"PYTHONHOME is set to {printable(found.home_variable)}.",
            "Python then takes its standard library from there, whichever Python is started.",
            _without("PYTHONHOME"),
            failure_id="wrong-interpreter-or-env",
            evidence={"PYTHONHOME": printable(found.home_variable)},
        )
    for shadow in found.shadows:
        if shadow.owner in asked and shadow.owner:
            raise _shadowed(found, shadow)
    _state_shadows(found, degraded)
    _state_user_site(found, degraded)


@pytest.mark.check("python.encoding", area="python", needs=["python.target"], severity="minor")
@pytest.mark.guidance("docs/checks.md#python-encoding")
def test_texts_are_read_as_they_are_written(
    facts: FactBook, profile: Profile, context: Context
) -> None:
    """Python reads texts as UTF-8, or the app's texts hold plain letters only."""
    found = _interpreter(facts, profile, context)
    if found.encoding.lower().replace("_", "-") in {"utf-8", "utf8"}:
        return
    texts = facts.get(requirement_files.read_requirement_files) if context.is_installed else ()
    strange = [each.path for each in texts if not each.is_ascii]
    if strange:
        raise Unhealthy(
            f"Python reads texts as {found.encoding} here; {printable(strange[0])} is in UTF-8.",
            "Programs that open it without naming an encoding end with UnicodeDecodeError.",
            "Set PYTHONUTF8=1 in the environment of pip and of the app.",
            failure_id="text-encoding-windows",
            subject=strange[0],
            evidence={"encoding": found.encoding, "files": len(strange)},
        )


def _interpreter(facts: FactBook, profile: Profile, context: Context) -> interpreter.Interpreter:
    """Return the target's report; skip where there is nothing to ask."""
    if not profile.python.is_required:
        pytest.skip("The profile needs no Python environment.")
    if facts.target_python is None and not context.is_installed:
        pytest.skip("There is no environment yet; the installer makes one.")
    return facts.get(interpreter.read_interpreter)


def _judge_metadata(
    facts: FactBook,
    profile: Profile,
    found: interpreter.Interpreter,
    inside: Sequence[packages.Distribution],
) -> None:
    """Fail metadata that cannot be believed, and packages that lie there twice."""
    conflicts = packages.find_conflicts(inside, found.marker_environment)
    broken = [each for each in conflicts if each.kind in _NOT_WHOLE]
    if broken:
        shown = "; ".join(printable(each.words) for each in broken[:_SHOWN])
        more = f"; and {len(broken) - _SHOWN} more" if len(broken) > _SHOWN else ""
        raise Unhealthy(
            f"{counted(len(broken), 'package')} half installed: {shown}{more}.",
            "Most often an install that was interrupted, or a virus scanner.",
            settle_command(facts, found, profile, broken),
            failure_id="half-installed-package",
            subject=broken[0].name,
            evidence={f"package_{n}": printable(c.words) for n, c in enumerate(broken, 1)},
        )


def _sharing(found: interpreter.Interpreter) -> set[str]:
    """Return the packages that overwrote each other's files: python.owners tells of them."""
    present = (names & found.installed.keys() for names in packages.SAME_MODULE.values())
    several = {name for names in present if len(names) > 1 for name in names}
    return several | {name for _module, owners in found.clashes for name in owners}


def _all_judged(inside: Sequence[packages.Distribution]) -> None:
    unread = [item for item in inside if item.is_wheel and item.has_record and not item.is_judged]
    if unread:
        raise CannotTell(
            f"The files of {counted(len(unread), 'package')} could not be looked at in time, "
            f"{printable(unread[0].name)} among them.",
            "Most often a cold or slow disk.",
            "Run again: what was read once is read faster.",
        )


def _two_owners(
    found: interpreter.Interpreter, module: str, owners: tuple[str, ...], asked: set[str]
) -> Unhealthy:
    what, why, _ = _clash_words(module, owners)
    keep = "nvidia-ml-py" if module == "pynvml" else next(x for x in owners if x in asked)
    spare = [name for name in owners if name != keep]
    again = packages.shell_words(
        [found.target, "-m", "pip", "install", "--force-reinstall", "--no-deps", keep]
    )
    away = packages.shell_words([found.target, "-m", "pip", "uninstall", "-y", *spare])
    return Unhealthy(
        what,
        why,
        f"`{away}`, then `{again}`.",
        subject=spare[0],
        evidence={"module": module, "owners": ", ".join(owners)},
    )


def _clash_words(module: str, owners: tuple[str, ...]) -> tuple[str, str, str]:
    names = " and ".join(owners)
    return (
        f"{names} both bring the module {printable(module)}, with different contents.",
        (
            "Which of them is imported depends on the order of their installation; a folder comes "
            "before a single file."
        ),
        "Remove the one that the app does not need, then install the other again.",
    )


def _judge_pynvml(facts: FactBook, found: interpreter.Interpreter, degraded: Degraded) -> None:
    item = found.installed.get("pynvml")
    if item is None or not packages.in_range(item.version, f">={_PYNVML_WITHOUT_MODULE}"):
        return
    away = packages.shell_words([found.target, "-m", "pip", "uninstall", "-y", "pynvml"])
    next_step = f"`{away}`"
    if "nvidia-ml-py" not in found.installed:
        next_step += f", then `{install_command(facts, found, ['nvidia-ml-py'])}`"
    degraded(
        f"pynvml {item.version} is installed only to warn: the module comes from nvidia-ml-py.",
        "Its warning appears at each import of torch, and ends programs that take warnings for "
        "errors.",
        f"{next_step}.",
    )


def _shadowed(found: interpreter.Interpreter, shadow: interpreter.Shadow) -> Unhealthy:
    path = printable(shadow.path)
    if shadow.is_app:
        why = "Python looks first in the folder of the program that is started."
        next_step = f"Rename {path}, or start the app from elsewhere with `python -P` (3.11)."
    else:
        why = "PYTHONPATH comes before the packages of the environment."
        next_step = _without("PYTHONPATH")
    return Unhealthy(
        f"{path} takes the place of the installed package {shadow.owner}.",
        why,
        next_step,
        failure_id="module-shadowing" if shadow.is_app else "user-site-leak",
        subject=shadow.owner,
        evidence={"module": shadow.module, "path": path, "shadows": len(found.shadows)},
    )


def _without(variable: str) -> str:
    return f"Start the app without it: `unset {variable}`, on Windows `set {variable}=`."


def _state_shadows(found: interpreter.Interpreter, degraded: Degraded) -> None:
    """State what else comes first: the app's own package installed as well is its own matter."""
    own = {name.partition(".")[0] for name in _own_modules(found)}
    others = [each for each in found.shadows if each.module not in _JUNK | own]
    for is_app, failure in ((True, "module-shadowing"), (False, "user-site-leak")):
        some = [each for each in others if each.is_app == is_app]
        if some:
            shown = ", ".join(printable(each.path) for each in some[:_SHOWN])
            place = "the app's folder" if is_app else "PYTHONPATH"
            degraded(
                f"{counted(len(some), 'module')} of {place} come before installed or standard "
                f"ones: {shown}.",
                "Whatever imports a module of that name gets this one.",
                "Rename them." if is_app else "Start the app without PYTHONPATH.",
                failure,
            )


def _own_modules(found: interpreter.Interpreter) -> set[str]:
    """Return the installed packages that are the app itself: `pip install .` of its folder."""
    local = {each.module for each in found.shadows if each.is_app}
    return {
        module
        for item in found.installed.values()
        if item.direct in {"folder", "editable"}
        for module in item.modules
        if module in local
    }


def _state_user_site(found: interpreter.Interpreter, degraded: Degraded) -> None:
    outside = sum(item.folder == found.user_site for item in found.distributions)
    if found.is_user_site_active and outside:
        degraded(
            f"{counted(outside, 'package')} in {printable(found.user_site)} can take the place of "
            "the environment's own.",
            "This Python also searches the user's package folder.",
            "Start the app with PYTHONNOUSERSITE=1 in its environment.",
            "user-site-leak",
        )
