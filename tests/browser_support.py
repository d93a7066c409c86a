"""Debian's Chromium, headless and without a network of its own; one start serves many pages."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from support import child_env

_FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage", "--hide-scrollbars",
)  # fmt: skip
_PATIENCE_SECONDS = 100
_HISTORY = "NavigationEntryMarkedSkippable"  # pytest-html writes its sort order into the address
# The two pipes get the numbers that Chromium expects; first out of each other's way.
_PLACED = (
    "import fcntl, os, sys; ends = [fcntl.fcntl(int(n), fcntl.F_DUPFD, 50) for n in sys.argv[1:3]];"
    "os.dup2(ends[0], 3); os.dup2(ends[1], 4); os.execv(sys.argv[3], sys.argv[3:])"
)


def find() -> str:
    """Return the browser; without one the test is skipped, or fails where it must be there."""
    found = shutil.which("chromium")
    if found is None and os.environ.get("MODELMEDIC_TOOLS_REQUIRED") == "1":
        pytest.fail("chromium is not installed, and .ci/apt.txt lists it")
    if found is None:
        pytest.skip("chromium is not installed")
    return found


def run(page: Path, folder: Path, *flags: str) -> str:
    """Open a page in a fresh profile below ``folder`` and return what Chromium prints."""
    folder.mkdir(parents=True, exist_ok=True)
    child = subprocess.Popen(
        [find(), *_FLAGS, f"--user-data-dir={folder / 'profile'}", *flags, page.as_uri()],
        env=child_env(HOME=str(folder)),
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, encoding="utf-8",
        start_new_session=True,
    )  # fmt: skip
    try:
        return child.communicate(timeout=_PATIENCE_SECONDS)[0]
    finally:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
            child.communicate()


def dom(page: Path, folder: Path, *flags: str) -> str:
    """Return the document as it stands after its scripts ran."""
    return run(page, folder, "--dump-dom", *flags)


@contextlib.contextmanager
def started(folder: Path) -> Iterator[Browser]:
    """Start one Chromium with a fresh profile below ``folder``, spoken to over two pipes.

    Source: DevTools protocol, "remote-debugging-pipe": JSON that ends with a NUL, in on
    descriptor 3, out on descriptor 4. No port is opened.
    """
    program = find()
    folder.mkdir(parents=True, exist_ok=True)
    (theirs_in, ours_out), (ours_in, theirs_out) = os.pipe(), os.pipe()
    child = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _PLACED, str(theirs_in), str(theirs_out), program, *_FLAGS,
         f"--user-data-dir={folder / 'profile'}", "--remote-debugging-pipe", "about:blank"],
        env=child_env(HOME=str(folder)), pass_fds=(theirs_in, theirs_out),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    os.close(theirs_in)
    os.close(theirs_out)
    try:
        with os.fdopen(ours_in, "rb") as answers, os.fdopen(ours_out, "wb", buffering=0) as asked:
            yield Browser(Pipe(answers, asked))
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()


class Pipe:
    """Questions to the browser and their answers; what comes unasked is kept by session."""

    def __init__(self, answers: Any, asked: Any) -> None:
        self._asked = asked
        self._number = 0
        self._answers: dict[int, dict] = {}
        self.events: dict[str, list[dict]] = {}
        self._news = threading.Condition()
        self._is_over = False
        threading.Thread(target=self._listen, args=(answers,), daemon=True).start()

    def _listen(self, answers: Any) -> None:
        rest = b""
        with contextlib.suppress(OSError, ValueError):
            while part := answers.read1(1 << 20):
                *whole, rest = (rest + part).split(b"\0")
                for text in whole:
                    self._take(json.loads(text))
        with self._news:
            self._is_over = True
            self._news.notify_all()

    def _take(self, told: dict) -> None:
        with self._news:
            if "id" in told:
                self._answers[told["id"]] = told
            else:
                self.events.setdefault(told.get("sessionId", ""), []).append(told)
            self._news.notify_all()

    def ask(self, method: str, session: str = "", **values: Any) -> dict:
        """Return the answer to one question of the protocol."""
        self._number += 1
        number = self._number
        question = {"id": number, "method": method, "params": values}
        question |= {"sessionId": session} if session else {}
        self._asked.write(json.dumps(question).encode() + b"\0")
        answer = self.wait(lambda: self._answers.pop(number, None))
        if "error" in answer:
            raise AssertionError(f"{method}: {answer['error']}")
        return answer["result"]

    def wait(self, found: Any) -> Any:
        """Return what ``found`` returns, as soon as that is true."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        with self._news:
            while not (value := found()):
                if self._is_over or not self._news.wait(deadline - time.monotonic()):
                    raise AssertionError("Chromium ended, or does not answer.")
            return value


@dataclass(slots=True)
class Browser:
    """A running Chromium."""

    pipe: Pipe

    @contextlib.contextmanager
    def page(
        self, file: Path, *, has_scripts: bool = True, scheme: str = "light",
        media: str = "screen", width: int = 1000, height: int = 1400,
    ) -> Iterator[Page]:  # fmt: skip
        """Open a file in a tab of its own and wait until it is loaded."""
        target = self.pipe.ask("Target.createTarget", url="about:blank")["targetId"]
        attached = self.pipe.ask("Target.attachToTarget", targetId=target, flatten=True)
        page = Page(self.pipe, attached["sessionId"])
        for domain in ("Page", "Runtime", "Log", "Network", "Audits"):
            page.ask(f"{domain}.enable")
        page.ask("Emulation.setEmulatedMedia", media=media,
                 features=[{"name": "prefers-color-scheme", "value": scheme}])  # fmt: skip
        page.ask("Emulation.setDeviceMetricsOverride", width=width, height=height,
                 deviceScaleFactor=1, mobile=False)  # fmt: skip
        page.ask("Emulation.setFocusEmulationEnabled", enabled=True)  # tabs share one window
        page.ask("Emulation.setScriptExecutionDisabled", value=not has_scripts)
        page.open(file)
        try:
            yield page
        finally:
            self.pipe.ask("Target.closeTarget", targetId=target)


@dataclass(slots=True)
class Page:
    """One tab. ``address`` is what was opened."""

    pipe: Pipe
    session: str
    address: str = field(default="")

    def ask(self, method: str, **values: Any) -> dict:
        return self.pipe.ask(method, self.session, **values)

    def open(self, file: Path) -> None:
        self.address = file.as_uri()
        self.ask("Page.navigate", url=self.address)
        self.pipe.wait(lambda: self.told("Page.loadEventFired"))

    def told(self, *methods: str) -> list[dict]:
        """Return what the browser told of this page unasked."""
        events = self.pipe.events.get(self.session, ())
        return [event["params"] for event in events if event["method"] in methods]

    def run(self, script: str) -> Any:
        """Return the value of a script run from outside: no policy of the page forbids it."""
        told = self.ask("Runtime.evaluate", expression=script, returnByValue=True,
                        awaitPromise=True)  # fmt: skip
        assert "exceptionDetails" not in told, told
        return told["result"].get("value")

    def press(self, key: str, code: int, text: str = "") -> None:
        for kind in ("keyDown", "keyUp"):
            self.ask("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code,
                     text=text if kind == "keyDown" else "")  # fmt: skip

    def write(self, text: str) -> None:
        self.ask("Input.insertText", text=text)

    def complaints(self) -> list[str]:
        """Return errors of the console, scripts and policy, dialogs, and each foreign request."""
        told = [str(each) for each in self.told(
            "Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded",
            "Audits.issueAdded", "Page.javascriptDialogOpening")]  # fmt: skip
        asked = [each["request"]["url"] for each in self.told("Network.requestWillBeSent")]
        own = ("data:", "about:blank", self.address)
        told = [each for each in told if _HISTORY not in each]
        return told + [url for url in asked if not url.startswith(own)]

    def screenshot(self, file: Path, *, is_whole: bool = True) -> None:
        told = self.ask(
            "Page.captureScreenshot", captureBeyondViewport=is_whole, **self._clip(is_whole)
        )
        file.write_bytes(base64.b64decode(told["data"]))

    def _clip(self, is_whole: bool) -> dict:
        if not is_whole:
            return {}
        size = self.ask("Page.getLayoutMetrics")["cssContentSize"]
        return {"clip": {**size, "height": min(size["height"], 8000), "scale": 1}}

    def pdf(self, file: Path) -> None:
        file.write_bytes(base64.b64decode(self.ask("Page.printToPDF")["data"]))
