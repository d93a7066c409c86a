"""Which of the twelve categories an error is in: its id, its facts, plugins, its words, its area.

1. A ``failure_id``: somebody has judged that failure by hand (``failures.toml``).
2. Facts: Windows error, errno, HTTP status, exit code, type. No plugin can talk over them.
3. Plugins, entry points ``modelmedic.classify``: they know errors that we have never seen, and
   guess less than the words do.
4. Words: whole phrases, see `modelmedic.healing.wordings`.
5. The area of the check: what it is about, when nothing says more.

Of a chain of exceptions the deepest explicit cause is asked first; what was merely being handled
when the error arose (``__context__``) comes after all of that: a disk that is full counts before
the optional import that failed earlier, and a crash of an error handler, which is no fact, gives
way to what it handled.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from modelmedic.errors import ModelmedicError, Unhealthy
from modelmedic.findings import EnhancedErrorCategory as Category
from modelmedic.healing import error_types, numbers, tables, wordings
from modelmedic.healing.registry import CATEGORY_OF_AREA

_MAX_LINKS = 50  # no chain of ours has ten; a loop through contexts ends here too
_STATUSES = range(100, 600)
# Their errno is a code of OpenSSL or of the name lookup: 1 is no EPERM.
_OWN_ERRNO = frozenset({"SSLError", "gaierror", "herror"})


def classify(
    error: BaseException | None, area: str = "", *, failure_id: str | None = None
) -> Category | None:
    """Return the category of an error, by the order above.

    Args:
        error: What a check or a component raised; None when only the id or the area is known.
        area: Area of the check; empty for none.
        failure_id: Id of the known failure, where the finding says it without an exception.

    Returns:
        None when nothing says anything.
    """
    if error is None:
        return of_failure(failure_id) or CATEGORY_OF_AREA.get(area)
    links = list(_chain(error))
    ids = [failure_id, *(_field(link, "failure_id") for link in [error, *links])]
    return (
        next(filter(None, map(of_failure, ids)), None)
        or next(filter(None, map(_of_facts, links)), None)
        or next(filter(None, map(_of_plugins, links)), None)
        or next(filter(None, map(_of_words, links)), None)
        or CATEGORY_OF_AREA.get(area)
    )


def by_facts(error: BaseException) -> Category | None:
    """Return what ids and facts say of an error: the two first looks of `classify`, at no cost.

    The others look for installed plugins and read the phrases, when first used 0.1 s of work.
    """
    links = list(_chain(error))
    ids = [_field(link, "failure_id") for link in [error, *links]]
    return next(filter(None, map(of_failure, ids)), None) or next(
        filter(None, map(_of_facts, links)), None
    )


def of_failure(failure_id: object) -> Category | None:
    """Return the category of a known failure; None for an id that is not in the table."""
    return known_failures().get(failure_id) if isinstance(failure_id, str) else None


@cache
def known_failures() -> dict[str, Category]:
    """Return the category of every known failure by its id."""
    rows = tables.read("failures.toml").items()
    return {name: Category(row["category"]) for name, row in rows}


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield the error's explicit causes, deepest first, and itself; then what it arose in."""
    seen: set[int] = set()
    start: BaseException | None = error
    while start is not None and len(seen) < _MAX_LINKS:
        segment: list[BaseException] = []
        link: BaseException | None = start
        while link is not None and id(link) not in seen and len(seen) < _MAX_LINKS:
            seen.add(id(link))
            segment.append(link)
            link = link.__cause__
        yield from reversed(segment)
        contexts = (
            entry.__context__
            for entry in reversed(segment)
            if entry.__context__ is not None and not entry.__suppress_context__
        )
        start = next((entry for entry in contexts if id(entry) not in seen), None)


def _of_facts(error: BaseException) -> Category | None:
    return (
        _of_os_number(error) or _of_status(error) or _of_exit(error) or error_types.of_type(error)
    )


def _of_os_number(error: BaseException) -> Category | None:
    if not isinstance(error, OSError) or _OWN_ERRNO & {
        kind.__name__ for kind in type(error).__mro__
    }:
        return None
    # First: Python gives error 32, a file in use, the errno of a missing right.
    windows = _whole(_field(error, "winerror"))
    if windows is not None and (found := numbers.of_windows_error(windows)):
        return found
    number = _whole(error.errno)
    return numbers.of_errno(number) if number is not None else None


def _of_status(error: BaseException) -> Category | None:
    response = _field(error, "response")
    for holder, name in (
        (error, "status"), (response, "status_code"), (error, "status_code"), (error, "code"),
    ):  # fmt: skip
        status = _whole(_field(holder, name))
        if status is not None and status in _STATUSES:
            return numbers.of_status(status)
    return None


def _of_exit(error: BaseException) -> Category | None:
    code = _whole(_field(error, "returncode"))
    return numbers.of_exit_code(code) if code is not None else None


def _field(holder: object, name: str) -> object:
    try:
        return getattr(holder, name, None)
    except Exception:  # noqa: BLE001 - a property of a foreign class; httpx has ones that raise
        return None


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _of_plugins(error: BaseException) -> Category | None:
    from modelmedic.healing import extensions

    return extensions.classify(error)


def _of_words(error: BaseException) -> Category | None:
    """Read the words of an error that is not our own: ours are about what they name."""
    if isinstance(error, ModelmedicError | Unhealthy):
        return None
    return next(filter(None, map(wordings.of_text, _texts(error))), None)


def _texts(error: BaseException) -> Iterator[str]:
    """Yield what an error says, then what its program printed."""
    try:
        said = str(error)
    except Exception:  # noqa: BLE001 - a foreign class; one that cannot be printed says nothing
        said = ""
    if isinstance(error, AssertionError):  # what pytest adds shows our values, not their words
        said = "" if said.startswith("assert ") else said.partition("\nassert ")[0]
    yield said
    for name in ("stderr", "stdout"):
        printed = _field(error, name)
        if isinstance(printed, bytes):
            printed = printed[-wordings.MAX_CHARS :].decode("utf-8", "replace")
        if isinstance(printed, str):
            yield printed
