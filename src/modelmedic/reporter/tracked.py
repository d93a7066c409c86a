"""Errors of an installer's calls, counted by cause in bounded memory."""

from __future__ import annotations

import contextlib
import re
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from modelmedic.reliability import error_log
from modelmedic.reliability.error_context import EnhancedErrorContext
from modelmedic.reporter.interfaces import ErrorPattern
from modelmedic.text import counted, printable

MOST_CAUSES = 2_000  # the one not seen for the longest time goes
MOST_IDS = 20_000  # of errors; the log of a state folder holds about 2,000
_TYPE = re.compile(r"[A-Za-z_][\w.]{0,150}")
_WHOLE_NAME = 120  # of a component or method
_MOST_CATEGORIES = 12  # as many as there are


@dataclass(slots=True)
class _Counted:
    times: int = 0
    first_at: float = 0.0
    last_at: float = 0.0
    categories: set[str] = field(default_factory=set)


class TrackedErrors:
    """Counts errors; one that is told twice, by hand and by the log, counts once."""

    def __init__(self) -> None:
        self._causes: OrderedDict[tuple[str, str], _Counted] = OrderedDict()
        self._ids: OrderedDict[str, None] = OrderedDict()

    def add(self, errors: Iterable[EnhancedErrorContext]) -> None:
        """Count errors as they were captured."""
        for each in errors:
            place = f"{each.component}.{each.method}"
            self._count(each.error_id, place, each.error, each.category, _moment(each.timestamp))

    def add_log(self, state_dir: Path) -> None:
        """Count the errors in a state folder's log; one that cannot be read is passed over."""
        names = [f"errors.{number}.jsonl" for number in range(error_log.KEPT_FILES - 1, 0, -1)]
        for name in (*names, error_log.NAME):
            path = state_dir / name
            if not path.is_file():  # also a pipe, which would be waited for
                continue
            with contextlib.suppress(OSError):
                for record in error_log.read(path):
                    self._add_record(record)

    def patterns(self, since: float = 0.0) -> list[ErrorPattern]:
        """Return the causes seen twice or more, the most frequent first."""
        found = [
            _pattern(cause, known)
            for cause, known in self._causes.items()
            if known.times > 1 and known.last_at >= since
        ]
        return sorted(found, key=lambda each: (-each.times, -each.last_at))

    def _add_record(self, record: Mapping[str, Any]) -> None:
        texts = [record.get(key) for key in ("error_id", "component", "method", "error")]
        moment = _moment(record.get("timestamp"))
        if moment is None or not all(isinstance(text, str) for text in texts):
            return
        error_id, component, method, error = map(str, texts)
        self._count(error_id, f"{component}.{method}", error, record.get("category"), moment)

    def _count(
        self, error_id: str, place: str, error: str, category: object, at: float | None
    ) -> None:
        if at is None or (error_id and not self._is_new(error_id[:_WHOLE_NAME])):
            return
        kind = _TYPE.match(error)
        cause = (place[: 2 * _WHOLE_NAME], kind[0] if kind else "")
        known = self._causes.setdefault(cause, _Counted(first_at=at, last_at=at))
        self._causes.move_to_end(cause)
        known.times += 1
        known.first_at, known.last_at = min(known.first_at, at), max(known.last_at, at)
        if isinstance(category, str) and category and len(known.categories) < _MOST_CATEGORIES:
            known.categories.add(category[:_WHOLE_NAME])
        while len(self._causes) > MOST_CAUSES:
            self._causes.popitem(last=False)

    def _is_new(self, error_id: str) -> bool:
        if error_id in self._ids:
            return False
        self._ids[error_id] = None
        while len(self._ids) > MOST_IDS:
            self._ids.popitem(last=False)
        return True


def _pattern(cause: tuple[str, str], known: _Counted) -> ErrorPattern:
    place, kind = cause
    categories = f" ({printable(', '.join(sorted(known.categories)))})" if known.categories else ""
    text = (
        f"{printable(place)} raised {printable(kind) or 'an error'}{categories} in "
        f"{counted(known.times, 'call')}."
    )
    causes = (f"{place}: {kind}" if kind else place,)
    return ErrorPattern("same cause", causes, known.times, known.first_at, known.last_at, 1, text)


def _moment(value: object) -> float | None:
    """Return seconds since the epoch; None for what is no moment."""
    try:
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
        return moment.timestamp()
    except (ValueError, OverflowError, OSError):
        return None
