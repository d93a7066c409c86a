"""Repairs of installed packages: the same again, one of two, what is missing, a set that agrees."""

from __future__ import annotations

from collections.abc import Iterator

from modelmedic.context import Context
from modelmedic.errors import NotItsCase, RecoveryRefused
from modelmedic.facts import packages
from modelmedic.facts.book import FactBook
from modelmedic.facts.packages import Conflict, Distribution
from modelmedic.installer import words
from modelmedic.installer.words import InstallerRefused
from modelmedic.operations.set_distributions import SetDistributions
from modelmedic.profile.model import Requirement
from modelmedic.strategies import resolving, stacks
from modelmedic.strategies.environment import TORCH, Target, exchange, target
from modelmedic.strategies.resolving import Found
from modelmedic.text import printable

_NOT_WHOLE = frozenset({"broken", "no-record"})


def plan_reinstall(facts: FactBook, context: Context, subject: str) -> Iterator[SetDistributions]:
    """Yield what installs the same version of a half installed distribution again.

    Raises:
        RecoveryRefused: It is whole, or the same version cannot be had.
    """
    place = target(facts, context)
    broken = [d for d in place.own if d.key == subject and _is_torn(place, d)]
    if not broken:
        raise NotItsCase(f"{printable(subject)} is not half installed.")
    if _twins(place, subject):
        raise NotItsCase(f"Another package wrote over the files of {printable(subject)}.")
    item = broken[0]
    if item.direct:
        raise RecoveryRefused(
            f"{printable(item.name)} was not installed again: it did not come from an index but "
            f"from another source ({printable(item.direct)}).",
            "",
            "Install it again from there.",
        )
    pin = f"{item.name}=={item.version}" if item.version else _spec(context, subject)
    found = resolving.anywhere(
        context,
        lambda index: resolving.resolve(facts, context, place, (pin,), is_alone=True, index=index),
    )
    yield _exchange(context, place, found)


def plan_settle(facts: FactBook, context: Context, subject: str) -> Iterator[SetDistributions]:
    """Yield what leaves one of two distributions that bring the same module, or of two copies.

    The one that stays is installed again: the other wrote over its files.

    Raises:
        RecoveryRefused: There are no two, or none of them fits.
    """
    place = target(facts, context)
    twins = _twins(place, subject)
    if not twins:
        raise NotItsCase(f"{printable(subject)} is there once, and nothing else brings its module.")
    names = {twins[0].name, twins[0].other}
    keep = _kept(context, place, names)
    pin = f"{keep.name}=={keep.version}"
    found = resolving.resolve(facts, context, place, (pin,), is_alone=True)
    yield _exchange(context, place, found, remove=tuple(names - {keep.key}))


def plan_install_missing(
    facts: FactBook, context: Context, subject: str
) -> Iterator[SetDistributions]:
    """Yield what installs a missing package and what it needs; nothing that is there changes.

    Raises:
        RecoveryRefused: Nothing is missing, or installing it would change what is there.
    """
    place = target(facts, context)
    missing = _missing(context, place, subject)
    refuse_choice(place, missing)
    found = resolving.resolve(facts, context, place, missing)
    changed = [i for i in found.items if i.key in place.found.installed]
    if changed:
        raise RecoveryRefused(
            f"{printable(missing[0])} was not installed: {printable(changed[0].name)} would become "
            f"{printable(changed[0].version)} by it."
        )
    yield _exchange(context, place, found)


def plan_settle_versions(
    facts: FactBook, context: Context, subject: str
) -> Iterator[SetDistributions]:
    """Yield what makes versions agree: the fewest changes that the index has.

    Raises:
        RecoveryRefused: Nothing contradicts, or there is no set that agrees.
    """
    place = target(facts, context)
    change = stacks.change_of(facts, context, place)
    wanted = _wishes_beside(context, place, subject, is_settled=change is not None)
    change = stacks.without_loss(change, is_needed=not wanted)
    lines = (*wanted, *(change.other_pins if change else ()))
    found = stacks.with_torch(facts, context, place, change, lines)
    if not any(item.key in place.found.installed for item in found.items):
        raise NotItsCase("No version of what is installed has to change.")
    yield _exchange(context, place, found)


def plan_elsewhere(facts: FactBook, context: Context, subject: str) -> Iterator[SetDistributions]:
    """Yield what installs from another place of packages that the profile names.

    Raises:
        RecoveryRefused: The configured index answers, or no other place helps.
    """
    place = target(facts, context)
    wanted = wishes(context, place, subject)
    try:
        resolving.resolve(facts, context, place, wanted)
    except InstallerRefused as refused:
        if refused.kind not in {"network", "hash", "no-match"}:
            raise
        own = refused
    else:
        raise NotItsCase("The configured package index has what is needed.")
    places = resolving.elsewhere(context)
    if not places:
        raise RecoveryRefused(
            f"No other package index was asked: the profile names none. {own.what}", own.why
        )
    yield _exchange(context, place, _first(facts, context, place, wanted, own))


def plan_offline(facts: FactBook, context: Context, subject: str) -> Iterator[SetDistributions]:
    """Yield what installs from a folder of wheels, without any network.

    Raises:
        RecoveryRefused: No folder was given, or it does not hold what is needed.
    """
    from modelmedic.strategies import wheelhouse

    if not context.wheelhouse:
        raise NotItsCase(
            "Nothing was installed from a wheelhouse: none was given.",
            "",
            "Make one where there is a network with `modelmedic profile wheelhouse`, then start "
            "again with --wheelhouse=DIR.",
        )
    place = target(facts, context)
    folder = wheelhouse.folder(context, place)
    torn = [d for d in place.own if d.key == subject and _is_torn(place, d)]
    wanted = (f"{torn[0].name}=={torn[0].version}",) if torn else wishes(context, place, subject)
    found = resolving.resolve(
        facts, context, place, wanted,
        is_alone=bool(torn), find_links=(folder,), is_offline=True,
    )  # fmt: skip
    if not found.items:
        raise NotItsCase(f"What {printable(subject)} asks for is installed.")
    wheelhouse.refuse_strangers(folder, found.items)
    yield _exchange(context, place, found)


# -- what is wanted --------------------------------------------------------------------------------


def wishes(context: Context, place: Target, subject: str) -> tuple[str, ...]:
    """Return the requirements that must hold together so that the subject does.

    What the profile asks of packages that are there goes along, and what the subject is in
    conflict with: settling one must not make another.

    Raises:
        RecoveryRefused: Nothing is wrong with the subject.
    """
    conflicts = [
        c for c in place.conflicts()
        if c.kind in {"missing", "version"} and subject in {c.name, c.other}
    ]  # fmt: skip
    asked = _asked(context, place)
    wanted = asked.get(subject)
    item = place.found.installed.get(subject)
    is_met = wanted is None or (item is not None and _is_met(wanted, item, place))
    if is_met and not conflicts:
        raise NotItsCase(f"Nothing is wrong with the version of {printable(subject)}.")
    lines = dict(asked) if len(asked) < 2 or subject in asked else {**asked}  # noqa: PLR2004
    installed = place.found.installed
    known = {name: spec for name, spec in lines.items() if name in installed or name == subject}
    for conflict in conflicts:
        for name in (conflict.name, conflict.other):
            if name not in known and packages.is_name(name):
                known[name] = asked.get(name, name)
    lines = {name: spec for name, spec in known.items() if not _is_left_out(name)}
    refuse_choice(place, tuple(lines.values()))
    return tuple(lines.values())


def _wishes_beside(
    context: Context, place: Target, subject: str, *, is_settled: bool
) -> tuple[str, ...]:
    """Return the requirements as `wishes` does; none where the table alone says what to change."""
    try:
        return wishes(context, place, subject)
    except NotItsCase:
        if is_settled:
            return ()
        raise


def refuse_choice(place: Target, lines: tuple[str, ...]) -> None:
    """Refuse to choose a torch for somebody who has none: it depends on card and driver.

    Raises:
        RecoveryRefused: Says how to choose.
    """
    for line in lines:
        parsed = packages.parsed(line)
        key = packages.normalised(parsed.name) if parsed else ""
        if key in words.SOURCE_ONLY and key not in place.found.installed:
            raise words.source_only(key)
        if key in TORCH and key not in place.found.installed:
            raise RecoveryRefused(
                f"{printable(key)} was not installed: which build of it runs depends on the card "
                "and its driver.",
                "The newest one that the index has most often needs a newer driver.",
                "See what the check python.package says, and install the build that fits.",
            )


def _asked(context: Context, place: Target) -> dict[str, str]:
    """Return what the profile requires in this environment, by name."""
    found = {}
    for need in context.profile.python.requirements:
        parsed = packages.parsed(need.spec)
        if parsed is not None and packages.applies(parsed, place.found.marker_environment):
            found[need.name] = need.spec
    return found


def _missing(context: Context, place: Target, subject: str) -> tuple[str, ...]:
    installed = place.found.installed
    lines = [
        c.cure for c in place.conflicts()
        if c.kind == "missing" and subject in {c.name, c.other} and c.cure
    ]  # fmt: skip
    asked = _asked(context, place)
    if subject in asked and subject not in installed:
        lines.insert(0, asked[subject])
    if not lines:
        raise NotItsCase(f"{printable(subject)} is installed, and so is what it needs.")
    return tuple(dict.fromkeys(lines))


def _is_met(spec: str, item: Distribution, place: Target) -> bool:
    parsed = packages.parsed(spec)
    if parsed is None:
        return True
    unmet = packages.unmet_extras(parsed, place.found.installed, place.found.marker_environment)
    return packages.fits(parsed, item.version) is True and not unmet


def _is_left_out(name: str) -> bool:
    return name in words.SOURCE_ONLY


def _spec(context: Context, subject: str) -> str:
    need: Requirement | None = next(
        (r for r in context.profile.python.requirements if r.name == subject), None
    )
    return need.spec if need else subject


def _is_torn(place: Target, item: Distribution) -> bool:
    """Return whether a distribution has lost files, its RECORD or its metadata."""
    own: list[Conflict] = [
        c for c in place.conflicts() if c.kind in _NOT_WHOLE and c.name == item.key
    ]
    return bool(own or item.missing_count or item.short_count)


def _twins(place: Target, subject: str) -> list[Conflict]:
    """Return where a distribution is there twice, or shares its module with another."""
    kinds = {"duplicate", "shared-module"}
    return [c for c in place.conflicts() if c.kind in kinds and subject in {c.name, c.other}]


def _kept(context: Context, place: Target, names: set[str]) -> Distribution:
    """Return which of several copies or rivals stays.

    The one that the profile asks for, in a version that fits; else the first one that is found.

    Raises:
        RecoveryRefused: None fits.
    """
    there = [d for d in place.own if d.key in names and not d.problem]
    asked = _asked(context, place)
    wanted = [d for d in there if d.key in asked] or there
    fitting = [d for d in wanted if d.key not in asked or _is_met(asked[d.key], d, place)]
    if not fitting:
        raise RecoveryRefused(
            f"None of {printable(', '.join(sorted(names)))} is of a version that the app can use."
        )
    return fitting[-1]


def _first(
    facts: FactBook,
    context: Context,
    place: Target,
    wanted: tuple[str, ...],
    own: InstallerRefused,
) -> Found:
    problems = []
    for endpoint in resolving.elsewhere(context):
        try:
            return resolving.resolve(facts, context, place, wanted, index=endpoint.url)
        except InstallerRefused as refused:
            problems.append(f"{endpoint.name}: {refused.what}")
    raise RecoveryRefused(
        f"No package index has what is needed. {own.what}", " ".join(problems), own.next_step
    )


def _exchange(
    context: Context, place: Target, found: Found, *, remove: tuple[str, ...] = ()
) -> SetDistributions:
    ask = found.ask
    return exchange(
        context, place, found.items,
        remove=remove, index=ask.index, find_links=ask.find_links, is_offline=ask.is_offline,
    )  # fmt: skip
