"""The app's settings: readable, and with the keys and values it needs."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from modelmedic.context import Context
from modelmedic.errors import CannotTell, Unhealthy
from modelmedic.facts import configs, safe_open
from modelmedic.facts.book import FactBook
from modelmedic.profile.model import ConfigFile
from modelmedic.text import counted, printable

Degraded = Callable[..., None]
_SHOWN = 5


def warm(facts: FactBook) -> None:
    """Begin reading every settings file."""
    if facts.context.is_installed:
        for config in facts.profile.configs:
            facts.start(configs.read_config, config.path, config.format)


@pytest.mark.check(
    "config.readable", area="config", needs=["install.folder"], severity="blocker",
    stage="installed",
)  # fmt: skip
@pytest.mark.recover("configuration", using=["restore_config"])
def test_config_file_is_readable(
    facts: FactBook, context: Context, config_file: ConfigFile, degraded: Degraded
) -> None:
    """The settings file is there and parses."""
    config = facts.get(configs.read_config, config_file.path, config_file.format)
    if not config.state.is_present:
        _judge_absent(context, config_file, config)
        return
    if config.problem:
        raise Unhealthy(
            f"{printable(config_file.path)} cannot be read as {config_file.format.upper()}.",
            f"{config.problem} Most often a crash or full disk while it was written, or an edit "
            "by hand.",
            _restore(context),
            failure_id="config-json-invalid",
            subject=config_file.path,
            evidence={"size_bytes": config.state.size_bytes, "problem": config.problem},
        )
    if config.has_bom:
        degraded(
            f"{printable(config_file.path)} begins with a byte order mark (EF BB BF).",
            "Most often an old Windows editor put it there; some readers refuse such a file.",
            "Save it as UTF-8 without BOM.",
        )


@pytest.mark.check(
    "config.keys", area="config", needs=["config.readable"], severity="major", stage="installed"
)
@pytest.mark.recover("configuration", using=["restore_config"])
def test_config_file_has_its_keys(
    facts: FactBook, context: Context, config_file: ConfigFile
) -> None:
    """The settings file has every key the app needs, of its type and in its range."""
    if not config_file.keys:
        pytest.skip("The profile asks for no keys in this file.")
    config = facts.get(configs.read_config, config_file.path, config_file.format)
    if config.state.state is safe_open.State.MISSING and not config_file.is_required:
        pytest.skip("This settings file is optional and not there.")
    if not config.state.is_present or config.problem:
        raise CannotTell(config.problem or config.state.sentence())
    problems = configs.problems_with(config_file, config.values)
    if problems:
        is_missing = any(problem.endswith(" is missing") for problem in problems)
        more = f"; {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise Unhealthy(
            f"{printable(config_file.path)} has {counted(len(problems), 'wrong key')}: "
            f"{'; '.join(problems[:_SHOWN])}{more}.",
            "Most often the file of an older version of the app." if is_missing else "",
            _restore(context),
            failure_id="config-key-missing-after-update" if is_missing else None,
            subject=config_file.path,
            evidence={"wrong_keys": len(problems)},
        )


def _judge_absent(context: Context, config_file: ConfigFile, config: configs.Config) -> None:
    state = config.state
    if state.state in {safe_open.State.OUTSIDE, safe_open.State.DENIED}:
        raise CannotTell(state.sentence())
    if state.state is safe_open.State.MISSING and not config_file.is_required:
        pytest.skip("This settings file is optional and not there.")
    raise Unhealthy(
        state.sentence(),
        "The app reads its settings from it.",
        _restore(context),
        subject=config_file.path,
        evidence={"state": state.state.value},
    )


def _restore(context: Context) -> str:
    command = context.run_command("--heal")
    return (
        f"`{command}` writes it anew from the last good copy or safe defaults; what is there now "
        "is kept aside."
    )
