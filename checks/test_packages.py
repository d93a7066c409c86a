"""What is installed in the target's Python: the packages that the app needs, and their peace."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from modelmedic.compat import failures
from modelmedic.context import Context
from modelmedic.errors import CannotTell, Unhealthy
from modelmedic.facts import interpreter, packages
from modelmedic.facts.book import FactBook
from modelmedic.facts.pip_commands import install_command, settle_command
from modelmedic.profile.model import Profile, Requirement
from modelmedic.text import counted, printable

Degraded = Callable[..., None]
_SHOWN = 4  # conflicts spelled out in a message; all of them are counted


def warm(facts: FactBook) -> None:
    """Start the target's Python early: every check here asks it."""
    if facts.profile.python.is_required and facts.target_python is not None:
        facts.start(interpreter.read_interpreter)


@pytest.mark.check(
    "python.package", area="python", needs=["python.target"], severity="blocker", stage="installed"
)
@pytest.mark.recover("dependency_failure")
def test_package_is_installed_and_fits(
    facts: FactBook,
    profile: Profile,
    context: Context,
    degraded: Degraded,
    requirement: Requirement,
) -> None:
    """A package that the app needs is installed in a version that fits."""
    found = _interpreter(facts, profile, context)
    wanted = packages.parsed(requirement.spec)
    if wanted is None:
        raise CannotTell(f"{requirement.spec!r} in the profile is no requirement (PEP 508).")
    if not packages.applies(wanted, found.marker_environment):
        pytest.skip(f"{requirement.name} is not needed there: {wanted.marker} does not hold.")
    item = found.installed.get(requirement.name)
    if item is None:
        _judge_absent(facts, found, requirement, degraded)
        return
    if item.problem:
        pytest.skip(f"{item.name} is half installed; python.files says what is missing.")
    fits = wanted.url is not None or packages.fits(wanted, item.version)
    if fits is None:
        raise CannotTell(f"{item.name} states {item.version!r}, which is no version number.")
    if not fits:
        raise _unfit(
            facts,
            found,
            requirement,
            f"{item.name} {printable(item.version)} is installed; the app needs {wanted}.",
            version=item.version,
        )
    missing = packages.unmet_extras(wanted, found.installed, found.marker_environment)
    if missing:
        words = "; ".join(printable(conflict.words) for conflict in missing[:_SHOWN])
        raise _unfit(facts, found, requirement, f"{wanted} is not complete: {words}.")


@pytest.mark.check("python.conflicts", area="python", needs=["python.target"], severity="major")
@pytest.mark.recover("dependency_failure")
def test_installed_packages_agree(facts: FactBook, profile: Profile, context: Context) -> None:
    """The installed packages have of each other what they ask for."""
    found = _interpreter(facts, profile, context)
    inside = [d for d in found.distributions if d.folder != found.user_site]
    everything = packages.find_conflicts(inside, found.marker_environment)
    # Half-installed packages and shared modules are told by python.files and python.owners.
    conflicts = [each for each in everything if each.kind in {"missing", "version"}]
    if conflicts:
        first = conflicts[0]
        shown = "; ".join(printable(conflict.words) for conflict in conflicts[:_SHOWN])
        more = len(conflicts) - _SHOWN
        raise Unhealthy(
            f"{counted(len(conflicts), 'conflict')} between installed packages: {shown}"
            + (f"; and {more} more." if more > 0 else "."),
            "Most often a later install changed a package that others pin.",
            settle_command(facts, found, profile, conflicts),
            failure_id=failures.of_pair(first.name, first.other),
            subject=first.name,
            evidence={f"conflict_{n}": printable(c.words) for n, c in enumerate(conflicts, 1)},
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


def _judge_absent(
    facts: FactBook,
    found: interpreter.Interpreter,
    requirement: Requirement,
    degraded: Degraded,
) -> None:
    """State what the absence of a package costs; fail when the app needs it."""
    stand_in = sorted(packages.siblings(requirement.name) & found.installed.keys())
    wanted = packages.parsed(requirement.spec)
    if stand_in and wanted and packages.fits(wanted, found.installed[stand_in[0]].version):
        other = found.installed[stand_in[0]]
        degraded(
            f"{requirement.name} is not installed; {other.name} {other.version} brings the same "
            "module in its place.",
            "An installer that adds the first breaks the second: both write the same files.",
        )
        return
    if requirement.is_optional:
        degraded(
            f"{requirement.name} is not installed; the app can do without it.",
            requirement.trap,
            install_command(facts, found, [requirement.spec]),
        )
        return
    at_home = {d.key for d in found.distributions if d.folder == found.user_site}
    if requirement.name in at_home:
        raise Unhealthy(
            f"{requirement.name} is not installed in the app's environment, only in "
            f"{printable(found.user_site)}.",
            "The app finds it there on some starts and not on others.",
            install_command(facts, found, [requirement.spec]),
            failure_id="user-site-leak",
            subject=requirement.name,
        )
    raise _unfit(
        facts,
        found,
        requirement,
        f"{requirement.name} is not installed in {printable(found.target)}; the app needs "
        f"{requirement.spec}.",
    )


def _unfit(
    facts: FactBook,
    found: interpreter.Interpreter,
    requirement: Requirement,
    what: str,
    version: str | None = None,
) -> Unhealthy:
    return Unhealthy(
        what,
        requirement.trap,
        install_command(facts, found, [requirement.spec]),
        failure_id=failures.of_package(requirement.name, is_missing=version is None),
        subject=requirement.name,
        evidence={"requirement": requirement.spec, "installed_version": version},
    )
