"""The compiled parts of packages, read and not loaded: whole, for this processor and system."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from modelmedic.context import Context
from modelmedic.errors import Unhealthy
from modelmedic.facts import binaries, file_words, interpreter, packages
from modelmedic.facts.book import FactBook
from modelmedic.profile.model import Profile, Requirement
from modelmedic.text import printable

# Modules that Python itself would load; beside them packages carry files for other machines.
# Source: PEP 3149 and importlib.machinery.EXTENSION_SUFFIXES.
_MODULE = re.compile(r"\.(cpython-\d+\w*(-[\w-]+)?|abi3)\.so$|\.pyd$")


@pytest.mark.check(
    "python.binaries", area="python", needs=["python.package"], severity="blocker",
    stage="installed",
)  # fmt: skip
@pytest.mark.recover("dependency_failure")
def test_compiled_parts_fit_this_machine(
    facts: FactBook, profile: Profile, context: Context, requirement: Requirement
) -> None:
    """The compiled parts of a package are whole and made for this machine.

    Their headers are read; nothing is loaded.
    """
    if not profile.python.is_required:
        pytest.skip("The profile needs no Python environment.")
    if facts.target_python is None and not context.is_installed:
        pytest.skip("There is no environment yet; the installer makes one.")
    found = facts.get(interpreter.read_interpreter)
    item = found.installed.get(requirement.name)
    if item is None:
        pytest.skip(f"{requirement.name} is not installed.")
    paths = tuple(str(Path(item.folder) / part) for part in item.extensions)
    for binary in facts.get(binaries.read_binaries, paths) if paths else ():
        _judge_whole(facts, found, item, binary)
        _judge_machine(facts, found, item, binary)
        _judge_glibc(found, item, binary)


def _judge_whole(
    facts: FactBook,
    found: interpreter.Interpreter,
    item: packages.Distribution,
    binary: binaries.Binary,
) -> None:
    if binary.is_cut or binary.problem:
        has = f"it has {binary.size_bytes:,} bytes; its tables need {binary.end_bytes:,}"
        raise Unhealthy(
            f"{printable(binary.path)} of {item.name} {item.version} is damaged: "
            f"{has if binary.is_cut else binary.problem}.",
            "Most often an install that was ended, or a full disk.",
            file_words.reinstall_command(facts, found, [item]),
            failure_id="half-installed-package",
            subject=item.key,
            evidence={"file": printable(binary.path), "size_bytes": binary.size_bytes},
        )


def _judge_machine(
    facts: FactBook,
    found: interpreter.Interpreter,
    item: packages.Distribution,
    binary: binaries.Binary,
) -> None:
    if not binary.machine or not _MODULE.search(binary.path):
        return
    own = binaries.same_machine(found.machine)
    is_other = binary.bits != found.bits if own == "x86_64" else binary.machine != own
    is_other = is_other or (own == "x86_64" and binary.machine not in {"x86_64", "i686"})
    if is_other:
        raise Unhealthy(
            f"{printable(binary.path)} of {item.name} {item.version} is made for {binary.machine}, "
            f"{binary.bits} bits; this Python runs on {own}, {found.bits} bits.",
            "Most often the environment was copied from another machine.",
            file_words.reinstall_command(facts, found, [item]),
            failure_id="wrong-interpreter-or-env",
            subject=item.key,
            evidence={"file": printable(binary.path), "machine": binary.machine},
        )


def _judge_glibc(
    found: interpreter.Interpreter, item: packages.Distribution, binary: binaries.Binary
) -> None:
    own = found.glibc
    if not own or not binary.glibc:
        return
    if binaries.version_key(binary.glibc) > binaries.version_key(own):
        away = packages.shell_words([found.target, "-m", "pip", "uninstall", "-y", item.key])
        raise Unhealthy(
            f"{item.name} {item.version} needs glibc {binary.glibc}; this system has {own}.",
            f"{printable(binary.path)} was built on a newer system. The C library cannot be "
            "replaced.",
            f"`{away}`, then install an older build of it, or use a newer system.",
            failure_id="flash-attn-glibc" if item.key == "flash-attn" else None,
            subject=item.key,
            evidence={"needs": binary.glibc, "has": own},
        )
