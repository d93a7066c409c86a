"""The same installer with the library: five wrapped components, and what is known about them."""

from __future__ import annotations

import contextlib
import os
import sys

import modelmedic
from modelmedic import rooms
from sample_installer.config_validator import ConfigValidator
from sample_installer.dependency_manager import DependencyManager
from sample_installer.error_handler import ErrorHandler
from sample_installer.main_installer import MainInstaller
from sample_installer.model_downloader import ModelDownloader
from sample_installer.order import Order

# What is true of the components; nothing is assumed that is not said here.
KNOWN = {
    "ErrorHandler": {"note": {"is_optional": True}},
    "MainInstaller": {
        "prepare_folder": {"is_idempotent": True},
        "register": {"tries": 1},  # the shop counts each call, also one whose answer is lost
    },
    "DependencyManager": {
        "make_environment": {"is_idempotent": True},
        "install_packages": {"is_idempotent": True, "limit": "dependency_install"},
        "check_packages": {"is_idempotent": True},
        "install_extras": {"is_optional": True, "tries": 1},
    },
    "ModelDownloader": {
        "check_server": {"is_idempotent": True, "limit": "tcp_connect"},
        "fetch_file": {
            "is_idempotent": True,  # it writes beside, and renames what it has proven
            "limit": "model_download",
            "alternatives": ("download_file",),
        },
        "verify_file": {"is_idempotent": True},
    },
    "ConfigValidator": {
        "write_config": {"is_idempotent": True},
        "validate_config": {"is_idempotent": True},
    },
}


# What an earlier installation may have left that no component of ours repairs.
_LEFT = ("install.locks", "config.")
_LEFT_SECONDS = 120


class Engine(modelmedic.AutoRecoveryEngine):
    """Knows which server is meant, and lets this process have what a recovery found."""

    def __init__(self, order: Order) -> None:
        super().__init__(
            profile=order.profile, install_dir=order.install_dir, options=("--stage=installed",)
        )
        self.order = order

    def recover_network_failures(self, operation: str, context: dict) -> bool:
        url = self.order.registrar if operation == "register" else self.order.hub
        is_recovered = super().recover_network_failures(operation, {"url": url, **context})
        os.environ.update(self.environment)
        return is_recovered


class NotReady(Exception):  # noqa: N818 - it is what the person is told
    """The installation cannot begin here."""


def install(order: Order) -> int:
    """Install; return the exit code."""
    errors = ErrorHandler(order.install_dir.parent / "install.log")
    engine = Engine(order)
    left_out: list[str] = []
    manager = modelmedic.ReliabilityManager(
        engine=engine, install_dir=order.install_dir, phase="installation"
    )
    manager.subscribe(
        lambda event: (
            left_out.append(f"without {event.component}.{event.operation}: {event.error}")
            if event.outcome == "optional"
            else None
        )
    )
    try:
        with (
            contextlib.closing(manager),
            modelmedic.TemporaryFiles(order.install_dir) as temporary,
        ):
            prepare(order, engine, temporary)
            installer(order, errors, manager, temporary).install()
            tell_losses(left_out, engine)
    except Exception as error:  # noqa: BLE001 - the last words of an ordinary installer
        errors.report(error)
        return 1
    sys.stdout.write("complete\n")
    return 0


def prepare(order: Order, engine: Engine, temporary: modelmedic.TemporaryFiles) -> None:
    """Refuse what cannot work, and put in order what an earlier installation left.

    Raises:
        NotReady: Says what is wrong with the machine.
    """
    reports = temporary.folder(rooms.state_dir() / f"reports-{os.getpid()}")
    engine.runs.report_dir = reports  # goes with us, also after a kill
    validator = modelmedic.PreInstallationValidator(
        profile=order.profile, install_dir=order.install_dir, report_dir=reports
    )
    for result in (validator.validate_permissions(), validator.validate_system_requirements()):
        wrong = [f"{each['what']} {each['next']}" for each in blockers(result)]
        if wrong:
            raise NotReady(" ".join(wrong))
    if left := left_behind(order, validator.validate_existing_installation()):
        engine.runs.heal(
            "--stage=installed", f"--checks={','.join(left)}", limit_seconds=_LEFT_SECONDS
        )


def left_behind(order: Order, result: modelmedic.ValidationResult) -> list[str]:
    """Return the checks that find what an earlier installation left; a fresh one has no settings."""
    begun = _LEFT if ConfigValidator(order).path.exists() else _LEFT[:1]
    return [
        each["check"]
        for each in result.findings
        if each["outcome"] == "failed" and each["check"].startswith(begun)
    ]


def blockers(result: modelmedic.ValidationResult) -> list[dict]:
    return [
        each
        for each in result.findings
        if each["outcome"] == "failed" and each["severity"] == "blocker"
    ]


def installer(
    order: Order,
    errors: ErrorHandler,
    manager: modelmedic.ReliabilityManager,
    temporary: modelmedic.TemporaryFiles,
) -> MainInstaller:
    """Return the installer whose calls of the other components are protected."""
    for component, methods in KNOWN.items():
        for method, known in methods.items():
            manager.declare(component, method, **known)
    own = ("prepare_folder", "register")  # it calls them itself, which no wrapper sees
    modelmedic.instrument(MainInstaller, manager, names=own)
    downloader = ModelDownloader(order)
    order.model.mkdir(parents=True, exist_ok=True)
    unfinished = temporary.folder("model/.unfinished")  # goes with us, also after a kill
    downloader.part_of = lambda path: unfinished / path.replace("/", "--")
    parts = DependencyManager(order), downloader, ConfigValidator(order)
    wrapped = [manager.wrap_component(each, type(each).__name__) for each in (errors, *parts)]
    return MainInstaller(order, *wrapped)


def tell_losses(left_out: list[str], engine: modelmedic.AutoRecoveryEngine) -> None:
    """Say what was only worked around, and what was left out."""
    around = [f"{each.strategy}: {each.note}" for each in engine.attempts if _is_loss(each)]
    for loss in [*left_out, *around]:
        sys.stdout.write(f"degraded: {loss}\n")


def _is_loss(attempt: modelmedic.StrategyAttempt) -> bool:
    return attempt.verdict == "degraded"
