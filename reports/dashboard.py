"""Renders the dashboard: one page of all machines, and one of each."""

from __future__ import annotations

import base64
import functools
import hashlib
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from modelmedic import sparkline
from modelmedic.fleet import charts, cohort, health, machines, stale, story
from modelmedic.fleet.site import INDEX, page_name
from modelmedic.fleet.survey import Survey
from modelmedic.text import counted, duration, size, visible

_TEMPLATES = Path(__file__).parent / "templates"
_MOST_LETTERS = 600  # of one text; the run's own report has all of it
_MOST_CAUSES = 40  # of one kind of list; an overview of more is none
_MOST_MACHINES = 2_000  # on one page; the sick come first
_PLAIN = {None: "none", True: "yes", False: "no"}
_MEANING = {
    health.FAILING: "a check fails",
    health.UNCLEAR: "a check could not look",
    health.DEGRADED: "usable with a stated loss",
    health.HEALTHY: "nothing is wrong",
    health.UNJUDGED: "no run has judged anything",
}


class Shown(str):
    """A text of the administrator's own, which is escaped but not masked."""

    __slots__ = ()


def pages(
    connection: sqlite3.Connection,
    survey: Survey,
    *,
    mask: Callable[[str], str],
    labels: bool = False,
) -> Iterator[tuple[str, str]]:
    """Give the name and the text of each page, one at a time; the index comes last.

    Args:
        connection: Of the history that was surveyed.
        survey: What it says.
        mask: Hides credentials and names of persons and hosts in a text.
        labels: Show what the administrator calls the machines.
    """
    environment = _environment(mask)
    shared = _shared(survey, labels)
    page = environment.get_template("dashboard_machine.html.j2")
    for each in survey.machines:
        told = story.story(connection, each)
        values = {"story": told, "health": each, "resources": list(_resources(told, mask))}
        name = page_name(each.machine.name)
        yield name, _encodable(page.render(**shared, **values, policy=_policy("")))
    index = environment.get_template("dashboard.html.j2")
    script = _text("dashboard.js")
    values = {"script": script, "policy": _policy(script), "verdict": verdict(survey)}
    yield INDEX, _encodable(index.render(**shared, **values))


def verdict(survey: Survey) -> str:
    """Return one sentence on all machines."""
    counts = survey.verdicts
    sick = counts[health.FAILING] + counts[health.UNCLEAR]
    every = counted(len(survey.machines), "machine")
    told = f"{sick} of {every} not well" if sick else f"All well: {every}"
    if not sick and counts[health.HEALTHY] + counts[health.DEGRADED] < len(survey.machines):
        told = f"Nothing is known to be wrong: {every}"
    return f"{told}; {len(survey.silent)} stopped reporting." if survey.silent else f"{told}."


def _shared(survey: Survey, labels: bool) -> dict[str, Any]:
    """Return what every page is rendered with."""
    most = max((day.reporting for day in survey.trend.days), default=0)
    return {
        "survey": survey,
        "by_id": {each.machine.id: each for each in survey.machines},
        "silent": {each.machine.id: each for each in survey.silent},
        "labels": labels,
        "meaning": _MEANING,
        "most_causes": _MOST_CAUSES,
        "most_machines": _MOST_MACHINES,
        "most_reporting": most,
        "css": _text("dashboard.css"),
        "charts": charts,
        "cohort": cohort,
        "stale": stale,
        "machines": machines,
        "page_name": lambda machine: Shown(page_name(machine)),
        "shown": Shown,
        "counted": counted,
        "duration": duration,
        "having": _having,
        "size": size,
        "ago": functools.partial(_ago, survey.now),
    }


def _resources(told: story.Story, mask: Callable[[str], str]) -> Iterator[tuple[str, str, str]]:
    """Give the name, the chart and the last value of each resource."""
    for each in told.series:
        name = mask(each.name)
        last = sparkline.amount(each.points[-1][1], each.unit)
        yield name, sparkline.svg(each.points, label=name, unit=each.unit), last


def _policy(script: str) -> Shown:
    """Return a content security policy: our style, our script, nothing from anywhere."""
    allowed = f"'{_hash(script)}'" if script else "'none'"
    style = _hash(_text("dashboard.css"))
    return Shown(
        f"default-src 'none'; style-src '{style}'; script-src {allowed}; base-uri 'none'; "
        "form-action 'none'"
    )


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


@functools.cache
def _text(name: str) -> str:
    """Return a file of the templates; its ends of lines are what a browser hashes."""
    return (_TEMPLATES / name).read_text(encoding="utf-8")


def _encodable(page: str) -> str:
    return page.encode("utf-8", "backslashreplace").decode("utf-8")


def _ago(now: float, at: float | None) -> str:
    """Return how long ago something was, in the largest unit that fits."""
    if at is None:
        return "never"
    seconds = now - at
    if seconds < 0:
        return "in the future: a clock is wrong"
    if seconds >= 2 * machines.DAY_SECONDS:
        return f"{seconds / machines.DAY_SECONDS:.0f} days ago"
    hours, minutes = int(seconds // 3600), int(seconds // 60)
    if hours:
        return f"{counted(hours, 'hour')} ago"
    return f"{minutes} min ago" if minutes else "just now"


def _having(count: int, effect: float, every: int) -> int:
    """Return how many have a feature, or how many have it not where lacking it is what tells."""
    return count if effect >= 0 else every - count


def _moment(at: float | None, form: str = "%Y-%m-%d %H:%M") -> str:
    """Return a moment as people read it, in UTC; a stranger's may lie beyond all calendars."""
    try:
        return "" if at is None else time.strftime(form, time.gmtime(at))
    except (OverflowError, ValueError, OSError):
        return "no time of any calendar"


def _percent(share: float) -> str:
    return f"{round(100 * share)}\N{NO-BREAK SPACE}%"


def _points(share: float) -> str:
    return f"{round(100 * share):+d}".replace("-", "\N{MINUS SIGN}")


def _chance(p: float) -> str:
    """Return a small probability as people read it."""
    return f"{p:.3f}" if p >= 0.001 else f"{p:.0e}" if p >= 1e-12 else "under 1e-12"  # noqa: PLR2004 - three digits show it


def _environment(mask: Callable[[str], str]) -> Any:
    import jinja2

    known = functools.lru_cache(maxsize=4096)(mask)

    def short(text: str, most: int) -> Shown:
        """Cut what is masked already: half a secret would not be known for one."""
        return Shown(_cut(known(text), most))

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=functools.partial(_shown, known),
        optimized=False,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: Mapping[str, Callable[..., str]] = {
        "moment": _moment,
        "day": functools.partial(_moment, form="%Y-%m-%d"),
        "percent": _percent,
        "points": _points,
        "chance": _chance,
        "short": short,
    }
    environment.filters.update(filters)
    return environment


def _shown(mask: Callable[[str], str], value: Any) -> Any:
    """Return a value for the page: masked, then cut, and what cannot be seen as its escape."""
    kind = type(value)
    if kind is str:  # markup is a subclass, and ours
        return visible(_cut(mask(value), _MOST_LETTERS))
    if kind is Shown:
        return visible(_cut(value, _MOST_LETTERS))
    return _PLAIN.get(value, value) if value is None or kind is bool else value


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
