"""One thing that a scan found in somebody's code: where, what, why, and what to do next."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from modelmedic.errors import message

CERTAIN = "certain"  # nothing that the scanned code can do makes it right
LIKELY = "likely"  # it hangs on a type that the code states, or on what a call changes
UNKNOWN = "unknown"  # a file could not be looked at: it may be good or bad

MISSING_METHOD = "scan.missing-method"
SHADOWED_DEFINITION = "scan.shadowed-definition"
UNDEFINED_EXCEPTION = "scan.undefined-exception"
NOT_AN_EXCEPTION = "scan.not-an-exception"
DICT_AS_OBJECT = "scan.dict-as-object"
OBJECT_AS_DICT = "scan.object-as-dict"
UNKNOWN_FIELD = "scan.unknown-field"
ENUM_AS_STRING = "scan.enum-as-string"
UNKNOWN_MEMBER = "scan.unknown-member"
SAME_STATE_RECURSION = "scan.same-state-recursion"
COULD_NOT_LOOK = "scan.could-not-look"
RULES = (
    MISSING_METHOD,
    SHADOWED_DEFINITION,
    UNDEFINED_EXCEPTION,
    NOT_AN_EXCEPTION,
    DICT_AS_OBJECT,
    OBJECT_AS_DICT,
    UNKNOWN_FIELD,
    ENUM_AS_STRING,
    UNKNOWN_MEMBER,
    SAME_STATE_RECURSION,
    COULD_NOT_LOOK,
)


@dataclass(frozen=True, slots=True, order=True)
class ScanFinding:
    """One fault that the code shows before it runs.

    ``path`` has "/" and is relative to the current folder when the file lies below it, else it
    begins with the name of the folder that was scanned. ``line`` and ``column`` begin with 1; a
    file that could not be looked at as a whole has line 1. ``nearest`` are the names most like
    the one that is missing, the most alike first.
    """

    path: str
    line: int
    column: int
    rule: str
    what: str
    why: str
    next: str
    certainty: str = CERTAIN
    nearest: tuple[str, ...] = ()

    def __str__(self) -> str:
        place = f"{self.path}:{self.line}:{self.column}"
        likely = "" if self.certainty == CERTAIN else f", {self.certainty}"
        return f"{place}: {message(self.what, self.why, self.next)} [{self.rule}{likely}]"

    def to_json(self) -> dict[str, Any]:
        """Return the finding as plain JSON values, in the order of its fields."""
        return {**asdict(self), "nearest": list(self.nearest)}
