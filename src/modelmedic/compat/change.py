"""The least change that mends a stack: which distributions, to which versions, and what is lost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from modelmedic.compat import builds, rules_flash, rules_torch, versions
from modelmedic.compat.builds import Available, TorchBuild
from modelmedic.compat.judgement import Case, Contradiction, Judgement, wanted_of
from modelmedic.compat.judging import judge_case
from modelmedic.compat.rows import cuda_of, dotted
from modelmedic.compat.settling import Draft, Listing, settle
from modelmedic.compat.stack import Machine, Stack
from modelmedic.compat.table import Table, load

_TRIO = ("torch", *rules_torch.SIBLINGS)
_Key = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Change:
    """What to install and remove so that nothing contradicts any more.

    Args:
        pins: Exact requirements in the order of installing them, torch first.
        removed: Distributions to remove; what the app loses by it stands in ``lost``.
        cuda_tag: The CUDA build of torch after the change: "cu128"; "cpu"; "" when not known.
        wheels_endpoint_tag: The part of the wheel index that the torch pins come from; "" when
            all pins come from the ordinary index.
        reasons: What is mended, in words; that torch is changed is said first.
        lost: What the app can no longer do, in words.
        touches_torch: Whether torch itself is changed; only where nothing else mends.
        is_certain: Whether nothing is doubtful after it that was not before.
        flash_attn_wheel: Where a removed flash-attn is to be had for the torch that is then there;
            "" when it is not removed, or its project has no wheel for that torch.
    """

    pins: tuple[str, ...]
    removed: tuple[str, ...] = ()
    cuda_tag: str = ""
    wheels_endpoint_tag: str = ""
    reasons: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    touches_torch: bool = False
    is_certain: bool = True
    flash_attn_wheel: str = ""

    @property
    def versions(self) -> dict[str, str]:
        """Return the pinned versions by normalised name."""
        return dict(pin.split("==", 1) for pin in self.pins)

    @property
    def torch_pins(self) -> tuple[str, ...]:
        """Return the pins of torch, torchvision and torchaudio."""
        return tuple(pin for pin in self.pins if pin.partition("==")[0] in _TRIO)

    @property
    def other_pins(self) -> tuple[str, ...]:
        """Return the pins of everything else."""
        return tuple(pin for pin in self.pins if pin not in self.torch_pins)

    def applied_to(self, stack: Stack) -> Stack:
        """Return what a stack is after the change."""
        return stack.changed(self.versions, self.removed)


def nearest(
    machine: Machine,
    stack: Stack,
    requirements: Sequence[str],
    table: Table | None = None,
    available: Available | None = None,
) -> Change | None:
    """Return the least change that mends a stack; None when nothing contradicts or none is known.

    Least: the fewest distributions, then the smallest distance of versions. torch stays as it is
    wherever something else mends; CUDA is never given up for a build without it.

    Args:
        machine: What it must run on.
        stack: What is installed.
        requirements: What the app needs, as PEP 508 lines.
        table: None for the shipped one.
        available: Returns the versions of a distribution that an index really has; it is asked
            once for each name, and only for names that may change. None: the table alone.
    """
    table = table or load()
    wanted = wanted_of(requirements, machine.markers)
    before = Case.of(machine, stack, wanted, table)
    judged = judge_case(before)
    if not judged.contradictions:
        return None
    listing = Listing(before, available)
    found = _mended(Draft.of(before), listing) or _with_another_torch(before, listing)
    return None if found is None else _told(before, judged, found, listing)


def _mended(draft: Draft, listing: Listing) -> Draft | None:
    """Return a draft in which nothing contradicts, its torch as it is; None if there is none."""
    draft = _with_siblings(draft, listing)
    settled = settle(draft, listing)
    if settled is None and draft.case.stack.version("xformers"):
        if "xformers" in draft.case.wanted:
            return None
        settled = settle(draft.without("xformers"), listing)
    if settled is None:
        return None
    settled = _with_flash(settled, listing)
    return None if judge_case(settled.case).contradictions else settled


def _with_siblings(draft: Draft, listing: Listing) -> Draft:
    """Return the draft with the torchvision and torchaudio of its torch, where they are not."""
    case = draft.case
    release = case.table.torch_release(case.torch)
    wrong = {
        entry.packages[0]
        for entry in rules_torch.find(case)
        if entry.kind == "torch-trio" and entry.is_certain
    }
    if release is None or not wrong:
        return draft
    own = builds.versions_of(case, TorchBuild(release, case.build.tag))
    for name in sorted(wrong & own.keys()):
        is_plain = not versions.local(case.torch)
        version = listing.name_of(name, own[name], is_plain=is_plain)
        draft = draft.with_version(name, version) if version else draft
    return draft


def _with_flash(draft: Draft, listing: Listing) -> Draft:
    """Return the draft with a flash-attn that fits, without it where none can be had."""
    name = rules_flash.NAME
    is_wrong = any(entry.is_certain for entry in rules_flash.find(draft.case))
    if not is_wrong or not draft.case.stack.version(name):
        return draft
    fitting = rules_flash.wheel_for(draft.case)
    wanted = fitting[1].split("-")[1] if fitting else ""
    listed = listing.exact(name, wanted) if wanted else ""
    return draft.with_version(name, listed) if listed else draft.without(name)


def _with_another_torch(before: Case, listing: Listing) -> Draft | None:
    """Return the best draft with another build of torch, None when none mends."""
    best: tuple[_Key, Draft] | None = None
    if not before.torch:
        return None
    for build in builds.usable_builds(before):
        draft = _with_build(Draft.of(before), build, listing)
        mended = _mended(draft, listing) if draft else None
        if mended is not None:
            key = _key(before, build, mended)
            if best is None or key < best[0]:
                best = key, mended
    return best[1] if best else None


def _with_build(draft: Draft, build: TorchBuild, listing: Listing) -> Draft | None:
    """Return the draft with a torch build and its siblings; None when the index has them not."""
    for name, version in builds.versions_of(draft.case, build).items():
        installed = draft.case.stack.version(name)
        if not installed or installed == version:
            continue
        listed = listing.name_of(name, version, is_plain=False)
        if not listed:
            return None
        draft = draft.with_version(name, listed)
    return draft if all(_is_of(draft, name, build) for name in _TRIO) else None


def _is_of(draft: Draft, name: str, build: TorchBuild) -> bool:
    """Return whether a package, if installed, is of the build: not left behind by it."""
    installed = draft.case.stack.version(name)
    return not installed or name in builds.versions_of(draft.case, build)


def _key(before: Case, build: TorchBuild, draft: Draft) -> _Key:
    """Return the rank of a draft: smaller is better."""
    case = draft.case
    is_flash_lost = "flash-attn" in case.wanted and not _can_have_flash(case)
    doubts = sum(doubt.kind != "torch-driver" for doubt in judge_case(case).doubts)
    cuda = cuda_of(build.tag) or (0, 0)
    is_full = builds.has_full_driver(case, build.tag)
    return (
        build.is_served is None,
        draft.count + is_flash_lost,
        versions.distance(before.torch, build.release.version),
        doubts + _is_code_unsure(case),
        build.tag != before.build.tag,
        not is_full,
        tuple(-part for part in versions.release(build.release.version)),
        tuple(-part for part in cuda) if is_full else cuda,
    )


def _is_code_unsure(case: Case) -> bool:
    """Return whether only an uncertain row says that the torch has code for the cards."""
    code = case.table.code(case.torch, case.build.tag, case.machine.machine)
    return bool(case.machine.cards) and code is not None and not code.is_certain


def _can_have_flash(case: Case) -> bool:
    return bool(case.stack.version("flash-attn")) or rules_flash.wheel_for(case) is not None


def _told(before: Case, judged: Judgement, draft: Draft, listing: Listing) -> Change:
    after = draft.case
    changed = draft.versions
    ordered = sorted(changed, key=lambda name: (_TRIO.index(name) if name in _TRIO else 9, name))
    is_torch = "torch" in changed
    local = [versions.local(changed[name]) for name in ordered if name in _TRIO]
    known = {doubt.what for doubt in judged.doubts}
    doubts = [d for d in judge_case(after).doubts if d.kind != "torch-driver"]
    return Change(
        pins=tuple(f"{name}=={changed[name]}" for name in ordered),
        removed=tuple(sorted(draft.removed)),
        cuda_tag=after.build.tag,
        wheels_endpoint_tag=next(filter(None, local), ""),
        reasons=tuple(_reasons(before, judged.contradictions, changed)),
        lost=tuple(_lost(before, draft)),
        touches_torch=is_torch,
        is_certain=not (is_torch and _is_code_unsure(after))
        and not listing.is_guessed(draft)
        and all(doubt.what in known for doubt in doubts),
        flash_attn_wheel=_wheel_instead(draft),
    )


def _reasons(
    before: Case, wrong: Sequence[Contradiction], changed: dict[str, str]
) -> Iterator[str]:
    if "torch" in changed:
        yield (
            f"torch itself is changed, from {before.torch} to {changed['torch']}: nothing else "
            "mends this."
        )
    yield from dict.fromkeys(entry.what for entry in wrong)


def _wheel_instead(draft: Draft) -> str:
    if rules_flash.NAME not in draft.removed:
        return ""
    fitting = rules_flash.wheel_for(draft.case)
    return rules_flash.address_of(*fitting) if fitting else ""


def _lost(before: Case, draft: Draft) -> Iterator[str]:
    for name in sorted(draft.removed):
        installed = f"{name} {before.stack.version(name)}"
        if name != rules_flash.NAME:
            yield f"{installed} is removed: the app does not ask for it."
            continue
        wheel = _wheel_instead(draft)
        release = dotted(versions.minor(draft.case.torch))
        cure = (
            f"the wheel that fits is {wheel}"
            if wheel
            else f"its project has no wheel for torch {release} here"
        )
        yield f"{installed} is removed, for a wrong one is worse than none; {cure}."
