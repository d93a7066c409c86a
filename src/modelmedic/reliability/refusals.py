"""What the reliability library refuses: each says what, why, and what to do instead."""

from __future__ import annotations

from modelmedic.errors import ModelmedicError


class CannotWrap(ModelmedicError, TypeError):  # noqa: N818 - named for what it means
    """Something cannot be wrapped, instrumented or copied as a stand-in; nothing was changed."""


class CallRejected(ModelmedicError):  # noqa: N818
    """The circuit breaker of a component is open: the call did not begin."""


class UnknownErrorType(ModelmedicError, KeyError):  # noqa: N818
    """There is no strategy for an error type: no family and no category has that name."""

    __str__ = ModelmedicError.__str__  # a KeyError would print it as a quoted tuple
