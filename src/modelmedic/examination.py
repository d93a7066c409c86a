"""The state of one run that pytest's plugins share: options, context, facts, engine, findings."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelmedic import rooms
from modelmedic.context import Context
from modelmedic.facts.book import FactBook
from modelmedic.findings import Finding, Outcome
from modelmedic.healing.engine import Engine
from modelmedic.healing.interrupts import Interrupts
from modelmedic.healing.registry import Registry
from modelmedic.needs import Needs
from modelmedic.selection import Entry
from modelmedic.text import quoted

if TYPE_CHECKING:
    from modelmedic.healing.planfile import PlanFile

_ATTRIBUTE = "_modelmedic_examination"


@dataclass(slots=True)
class Examination:
    """One run of the checks. Lives on pytest's config; see `attach` and `of`.

    ``mode`` is "check", "plan", "ask" or "apply". ``allowed`` are the risk classes beyond safe
    that the person allowed. ``findings`` and ``plans`` fill up on the process that reports (the
    xdist controller, or the only process). ``is_closing`` marks the read-only pass after repairs.
    """

    context: Context
    facts: FactBook
    engine: Engine
    registry: Registry
    mode: str
    allowed: frozenset[str]
    report_dir: Path
    rootdir: Path = field(default_factory=rooms.home)  # what node ids are relative to
    manifest: Path | None = None  # --manifest; those of the profile come with it
    plan_file: Path | None = None  # None: plan.json in the report folder
    accepted: PlanFile | None = None  # --plan-file: repair only what stands in it
    needs: Needs = field(default_factory=lambda: Needs(()))
    # In the closing pass, by check id: the loss of what holds in this run's environment only.
    worked_around: dict[str, dict[str, Any]] = field(default_factory=dict)
    outcomes: dict[str, Outcome] = field(default_factory=dict)  # by node id, as checks end
    names: dict[str, str] = field(default_factory=dict)  # node id: check id
    roots: dict[str, str] = field(default_factory=dict)  # blocked or skipped node id: its cause
    hub: Any = None  # the embedded Hub, when this process serves it
    is_worker: bool = False
    is_closing: bool = False
    is_listing: bool = False  # --co and the like: nothing is judged
    checks: tuple[Entry, ...] = ()  # --checks: these and what they need; empty: all
    using: tuple[str, ...] = ()  # --using: no other recovery is tried; empty: all may be
    is_partial: bool = False  # some checks were left out by the person
    interrupts: Interrupts = field(default_factory=Interrupts)
    strict_degraded: bool = False
    is_low_priority: bool = False
    heal_again: bool = False  # also repairs that did not help in the same state
    is_verbose: bool = False  # -v: a traceback beside the words
    check_seconds: float | None = None  # pytest-timeout's limit of each check; None: it has none
    started_at: float = field(default_factory=time.time)
    findings: list[Finding] = field(default_factory=list)
    plans: list[dict[str, Any]] = field(default_factory=list)  # of --heal=plan, as JSON values
    healable: set[str] = field(default_factory=set)  # checks that name a recovery
    resources: dict[str, Any] = field(default_factory=dict)  # series of the run record, by key
    notes: list[str] = field(default_factory=list)  # sentences for the end of the run
    exit_code: int | None = None
    record: dict[str, Any] | None = None  # as it was written at the end
    has_no_history: bool = False  # --no-history: the run is not stored

    def bounds(self) -> list[str]:
        """Return the options that keep a run from repairing more than was agreed to.

        Plan file, budgets, recoveries, no network. A command that is printed for a person to type
        holds them.
        """
        most = self.engine.budget
        limits = (("count", most.count), ("bytes", most.fetch_bytes), ("seconds", most.seconds))
        bounds = [f"--heal-budget-{name}={int(many)}" for name, many in limits if many is not None]
        if self.accepted is not None:
            bounds.insert(0, f"--plan-file={quoted(str(self.accepted.path))}")
        bounds += [f"--using={','.join(self.using)}"] * bool(self.using)
        return bounds + ["--offline"] * self.context.offline


def attach(config: object, examination: Examination) -> None:
    """Put the examination on pytest's config object."""
    setattr(config, _ATTRIBUTE, examination)


def of(config: object) -> Examination | None:
    """Return the examination of this pytest run; None when it runs other tests."""
    found: Examination | None = getattr(config, _ATTRIBUTE, None)
    return found
