"""Components to wrap, and managers that wait for nothing."""

from __future__ import annotations

import asyncio
import contextlib
import errno

from modelmedic import IAutoRecoveryEngine, ReliabilityManager, RetryPolicy, idempotent, optional


class Downloader:
    """A component of an installer that does everything a class can do."""

    kind = "net"

    def __init__(self):
        self.ran = []
        self.looked = 0
        self.failing = {}
        self.stored = lambda word: word.upper()
        self.entered = 0

    def fetch(self, name="file", *, force=False):
        """Fetch one."""
        return self._run("fetch", name)

    def _run(self, method, result):
        self.ran.append(method)
        planned = self.failing.get(method)
        if planned:
            raise planned.pop(0)
        return result

    @idempotent
    def verify(self):
        return self._run("verify", "verified")

    @optional
    def decorate(self):
        return self._run("decorate", "decorated")

    def outer(self):
        return self.inner()

    def inner(self):
        return self._run("inner", "inner")

    def chain(self):
        self.ran.append("chain")
        return self

    @property
    def size(self):
        self.looked += 1
        return 7

    @staticmethod
    def version(major):
        return f"{major}.0"

    @classmethod
    def named(cls):
        return cls.__name__

    def lines(self, count):
        """Give lines; answers what it was sent."""
        self.ran.append("lines")
        sent = None
        for number in range(count):
            if self.failing.get(f"line {number}"):
                raise self.failing[f"line {number}"].pop(0)
            sent = yield (number, sent)
        return "done"

    async def later(self, result=1):
        self.ran.append("later")
        await asyncio.sleep(0)
        if self.failing.get("later"):
            raise self.failing["later"].pop(0)
        return result

    async def lines_later(self, count):
        self.ran.append("lines_later")
        for number in range(count):
            await asyncio.sleep(0)
            if self.failing.get(f"line {number}"):
                raise self.failing[f"line {number}"].pop(0)
            yield number

    def passed_on(self):
        """Give a coroutine without being a coroutine function, as decorators do."""
        return self.later(5)

    def __len__(self):
        return 3

    def __iter__(self):
        return iter("abc")

    def __contains__(self, item):
        return item == "b"

    def __getitem__(self, index):
        return index

    def __bool__(self):
        return True

    def __eq__(self, other):
        return isinstance(other, Downloader)

    def __hash__(self):
        return 5

    def __call__(self, number):
        return self._run("called", number)

    def __enter__(self):
        self.entered += 1
        return self

    def __exit__(self, *error):
        self.entered -= 1

    async def __aenter__(self):
        self.entered += 1
        return self

    async def __aexit__(self, *error):
        self.entered -= 1


class Engine(IAutoRecoveryEngine):
    """An engine that notes what it was asked, and answers as told."""

    def __init__(self, *, heals=False, cures=()):
        self.asked = []
        self.attempts = []
        self.heals = heals
        self.cures = dict(cures)

    def has_cure(self, component, name):
        return name in self.cures

    def recover_missing_methods(self, component, method_name):
        self.asked.append(("missing", component, method_name))
        if self.heals:
            setattr(component, method_name, self.cures[method_name])
        return self.heals

    def recover_model_validation_failures(self, model_issues):
        self.asked.append(("model", model_issues))
        return self.heals

    def recover_network_failures(self, operation, context):
        self.asked.append(("network", operation, context))
        return self.heals

    def recover_dependency_failures(self, dependency, error):
        self.asked.append(("dependency", dependency, error))
        return self.heals


def policy(tries=3, **more):
    """Return a policy without waits and without budgets."""
    unlimited = {"per_run": None, "run_seconds": None, "per_minute": None}
    return RetryPolicy(tries, 0.0, 0.0, **{**unlimited, **more})


def manager(tmp_path, **more):
    return ReliabilityManager(
        **{"retry": policy(), "state_dir": tmp_path / "journal-of-calls", **more}
    )


def reset():
    return ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")


def counts(made, method, component="Downloader"):
    """Return the counts of one method that are not nought."""
    found = made.metrics(component, method).total
    names = "successes degraded optional failures cancelled rejected retried"
    return {name: getattr(found, name) for name in names.split() if getattr(found, name)}


@contextlib.contextmanager
def raised(kind):
    """Catch an exception, and give it; like pytest's, for BaseException without its helpers."""
    caught = []
    try:
        yield caught
    except kind as error:
        caught.append(error)
    assert caught, f"{kind.__name__} was not raised"


def notes(error):
    return " ".join(getattr(error, "__notes__", ()))
