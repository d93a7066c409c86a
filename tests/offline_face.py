"""Use the public face of the library, and say as JSON what of it went to the network.

A test starts this in a network namespace without routes. A new part of the face gets a function
in ``PARTS``; it takes a folder of its own. Names after the folder choose parts.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
from pathlib import Path

REACHING = {
    "socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr",
    "socket.getnameinfo", "socket.sendto",
}  # fmt: skip
reached: list[str] = []


def watch(event: str, arguments: tuple[object, ...]) -> None:
    if event in REACHING:
        reached.append(f"{event} {arguments[1:]!r}")


def use_every_name(folder: Path) -> None:
    import modelmedic

    for name in modelmedic.__all__:
        getattr(modelmedic, name)


def capture_errors(folder: Path) -> None:
    from modelmedic import ErrorCapture, ErrorLog

    for level in ("minimal", "standard", "full"):
        capture = ErrorCapture(install_dir=folder, level=level, log=ErrorLog(folder / "state"))
        for error in (ValueError("x"), ConnectionResetError(104, "reset"), OSError(28, "full")):
            capture.capture(error, component="Downloader", method="get", args=(error,))


class Downloader:
    calls = 0

    def get(self, url: str) -> None:
        self.calls += 1
        raise ConnectionRefusedError(111, f"nobody listens at {url}")

    def lack(self) -> None:
        self.no_such_method()  # type: ignore[attr-defined]


def wrap_a_component(folder: Path) -> None:
    from modelmedic import ReliabilityManager, RetryPolicy

    manager = ReliabilityManager(
        retry=RetryPolicy(tries=1), install_dir=folder, state_dir=folder / "state", level="full"
    )
    wrapped = manager.wrap_component(Downloader(), "downloader")
    for call in (lambda: wrapped.get("https://example.invalid/x"), wrapped.lack):
        with contextlib.suppress(ConnectionRefusedError, AttributeError):
            call()
    with contextlib.suppress(AttributeError):
        wrapped.no_such_method()
    manager.close()


def choose_strategies(folder: Path) -> None:
    from modelmedic import EnhancedErrorCategory, ErrorCapture, ReliabilityManager, strategy_for

    context = ErrorCapture().capture(ConnectionResetError(), component="C", method="m")
    strategy_for(context)
    manager = ReliabilityManager(state_dir=folder / "state")
    for category in EnhancedErrorCategory:
        with contextlib.suppress(Exception):
            manager.get_recovery_strategy(category.value, "C")


def make_the_others(folder: Path) -> None:
    from modelmedic import AutoRecoveryEngine, PreInstallationValidator, TimeoutManager

    AutoRecoveryEngine(install_dir=folder, state_dir=folder / "state")
    PreInstallationValidator(install_dir=folder)
    TimeoutManager().get_timeout("network_test")


def validate(folder: Path) -> None:
    from modelmedic import PreInstallationValidator

    PreInstallationValidator(install_dir=folder).validate_network_connectivity()


def recover(folder: Path) -> None:
    from modelmedic import AutoRecoveryEngine

    engine = AutoRecoveryEngine(install_dir=folder, state_dir=folder / "state")
    engine.recover_network_failures("model_download", {"error": ConnectionResetError()})
    engine.recover_model_validation_failures(["weights"])


PARTS = (
    use_every_name, capture_errors, wrap_a_component, choose_strategies, make_the_others, validate,
    recover,
)  # fmt: skip


def main(folder: Path, names: set[str]) -> None:
    sys.addaudithook(watch)
    told = {}
    for part in [part for part in PARTS if part.__name__ in names or not names]:
        place = folder / part.__name__
        place.mkdir()
        reached.clear()
        begun = time.monotonic()
        part(place)
        told[part.__name__] = {"seconds": time.monotonic() - begun, "reached": list(reached)}
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), set(sys.argv[2:]))
