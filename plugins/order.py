"""Causes before what depends on them, of the checks that are asked for; groups for workers."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from modelmedic import examination, selection
from modelmedic.needs import GROUPS_NAME, Need, Needs
from modelmedic.records import write_json


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what --checks does not ask for, and sort the others by their needs."""
    found = examination.of(config)
    if found is None:
        return
    wanted = [(item, _need(item)) for item in items]
    if found.checks:
        wanted = _chosen(config, wanted, found.checks)
    found.needs = Needs(need for _item, need in wanted if need is not None)
    rank = {nodeid: place for place, nodeid in enumerate(found.needs.order())}
    last = len(rank)
    wanted.sort(key=lambda entry: rank[entry[1].nodeid] if entry[1] else last)
    items[:] = [item for item, _need_of_it in wanted]
    if found.is_worker:
        found.report_dir.mkdir(parents=True, exist_ok=True)
        groups = {item.nodeid: found.needs.component(item.nodeid) for item in items
                  if item.nodeid in rank}  # fmt: skip
        write_json(found.report_dir / GROUPS_NAME, groups)


def _chosen(
    config: pytest.Config,
    collected: list[tuple[pytest.Item, Need | None]],
    entries: tuple[selection.Entry, ...],
) -> list[tuple[pytest.Item, Need | None]]:
    try:
        names = selection.chosen(entries, [need for _item, need in collected if need is not None])
    except selection.BadSelection as error:
        raise pytest.UsageError(str(error)) from error
    config.hook.pytest_deselected(
        items=[item for item, _need_of_it in collected if item.nodeid not in names]
    )
    return [(item, need) for item, need in collected if item.nodeid in names]


def _need(item: pytest.Item) -> Need | None:
    marker = item.get_closest_marker("check")
    if marker is None:
        return None
    check_id = marker.args[0] if marker.args else marker.kwargs.get("id")
    if not isinstance(check_id, str):
        raise pytest.UsageError(f"{item.nodeid}: the check marker needs an id.")
    area = str(marker.kwargs.get("area", check_id.partition(".")[0]))
    return Need(item.nodeid, check_id, _parameter(item), tuple(_texts(marker)), area)


def _texts(marker: pytest.Mark) -> Iterable[str]:
    needs = marker.kwargs.get("needs", ())
    return (needs,) if isinstance(needs, str) else needs


def _parameter(item: pytest.Item) -> str | None:
    callspec = getattr(item, "callspec", None)
    return callspec.id if callspec is not None else None
