"""Which of the twelve categories an error is in: by type, errno and status, never by substring."""

from __future__ import annotations

import errno
import json
import ssl
from collections.abc import Iterator

from modelmedic.errors import Unhealthy
from modelmedic.findings import EnhancedErrorCategory as Category
from modelmedic.healing.registry import CATEGORY_OF_AREA

_BY_ERRNO = {
    errno.ENOSPC: Category.RESOURCE_EXHAUSTION,
    errno.EDQUOT: Category.RESOURCE_EXHAUSTION,
    errno.EMFILE: Category.RESOURCE_EXHAUSTION,
    errno.ENFILE: Category.RESOURCE_EXHAUSTION,
    errno.ENOMEM: Category.RESOURCE_EXHAUSTION,
    errno.EACCES: Category.PERMISSION,
    errno.EPERM: Category.PERMISSION,
    errno.EROFS: Category.PERMISSION,
    errno.ETIMEDOUT: Category.TIMEOUT,
    errno.ECONNREFUSED: Category.NETWORK,
    errno.ECONNRESET: Category.NETWORK,
    errno.EHOSTUNREACH: Category.NETWORK,
    errno.ENETUNREACH: Category.NETWORK,
}
_BY_STATUS = {
    401: Category.AUTHENTICATION,
    403: Category.AUTHENTICATION,
    407: Category.AUTHENTICATION,
    408: Category.TIMEOUT,
    504: Category.TIMEOUT,
}
_SERVER_ERROR = 500


def classify(error: BaseException | None, area: str = "") -> Category | None:
    """Return the category of an error: its causes first, then the area of the check.

    Returns:
        None when neither says anything.
    """
    for link in _chain(error):
        category = _of_one(link)
        if category is not None:
            return category
    return CATEGORY_OF_AREA.get(area)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield the error and its causes, the deepest first: that is where it began."""
    links: list[BaseException] = []
    while error is not None and error not in links:
        links.append(error)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    yield from reversed(links)


def _of_one(error: BaseException) -> Category | None:  # noqa: PLR0911 - one return a kind
    if isinstance(error, Unhealthy):
        return None  # a verdict; the area says what it is about
    status = getattr(error, "status", None)
    if isinstance(status, int):
        server = Category.NETWORK if status >= _SERVER_ERROR else None
        return _BY_STATUS.get(status, server)
    if isinstance(error, ssl.SSLError | ConnectionError):
        return Category.NETWORK
    if isinstance(error, TimeoutError):
        return Category.TIMEOUT
    if isinstance(error, json.JSONDecodeError | UnicodeDecodeError):
        return Category.CONFIGURATION
    if isinstance(error, ModuleNotFoundError):
        return Category.DEPENDENCY
    if isinstance(error, MemoryError):
        return Category.RESOURCE_EXHAUSTION
    if isinstance(error, OSError) and error.errno is not None:
        return _BY_ERRNO.get(error.errno)
    return None
