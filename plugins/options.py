"""Options of a run, from command line, environment and ini file; what they choose to examine."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from modelmedic import discovery, examination, rooms, runs, selection
from modelmedic.context import Context
from modelmedic.errors import CannotTell, ModelmedicError
from modelmedic.examination import Examination
from modelmedic.facts.book import FactBook
from modelmedic.healing.engine import Budget, Engine
from modelmedic.healing.registry import Registry
from modelmedic.pace import SETTINGS
from modelmedic.profile.loader import DEFAULT as DEFAULT_PROFILE
from modelmedic.profile.loader import load_profile
from modelmedic.profile.model import Profile
from modelmedic.text import quoted

if TYPE_CHECKING:
    from modelmedic.facts.digests import Digests
    from modelmedic.healing.planfile import PlanFile

RISKS = ("costly", "destructive")
_MOST_DIGITS = 18  # of a budget: an exabyte
EMBEDDED_DEMO = "embedded:demo"
# pytest's options that only list, and those that leave out checks.
LISTINGS = ("collectonly", "help", "markers", "showfixtures", "show_fixtures_per_test", "cacheshow")
_REPEATED = ("profile", "install_dir", "target_python", "stage", "manifest", "wheelhouse", "checks")
_SELECTING = ("keyword", "markexpr", "lf", "deselect", "stepwise", "ignore", "ignore_glob")

# Option, ini type, default, help. Ini names are modelmedic_<name>, variables MODELMEDIC_<NAME>.
_SETTINGS: tuple[tuple[str, str, str], ...] = (
    ("profile", "NAME|PATH", f"what a healthy install is (default {DEFAULT_PROFILE})"),
    (
        "install_dir",
        "DIR",
        "the folder under test (default: the current one if a model lies there)",
    ),
    ("target_python", "PATH", "the Python the app runs in (default: the install's environment)"),
    ("stage", "auto|preflight|installed", "judge the machine only, or the finished install too"),
    ("allow", "costly,destructive", "risk classes --heal may use besides safe"),
    ("heal_budget_count", "N", "begin at most N repairs in this run"),
    ("heal_budget_bytes", "N", "fetch at most N bytes in this run"),
    ("heal_budget_seconds", "N", "begin no repair after N seconds"),
    ("checks", "LIST", "judge only these areas or checks (ID, ID[PARAMETER]) and what they need"),
    ("using", "LIST", "with --heal: try no other recoveries than these"),
    ("bandwidth", "BYTES", "fetch at most so many bytes a second (default: no limit)"),
    ("plan_file", "F", "with --heal=plan: where to write the plan; with --heal: apply only that"),
    (
        "manifest",
        "F",
        "digests of the files as they should be, written by `modelmedic profile seal`",
    ),
    ("wheelhouse", "DIR", "wheels to repair packages from, of `modelmedic profile wheelhouse`"),
    *((f"retry_{name}", each.metavar, each.about) for name, each in SETTINGS.items()),
    ("report_dir", "DIR", "where report.json, report.html and junit.xml go"),
)
_FLAGS: tuple[tuple[str, str], ...] = (
    ("deep", "read every byte of the weights and compare hashes; import every package"),
    ("low_priority", "let everything else on the machine go first"),
    ("offline", "skip every check that needs a network"),
    ("heal_again", "try repairs again that did not help in the same state"),
    ("strict_degraded", "exit 1 when something is only degraded"),
    ("no_history", "do not store this run in the history of this machine"),
)


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    """Add modelmedic's options; the same names work in the ini file and the environment."""
    group = parser.getgroup("modelmedic", "modelmedic: check and heal an AI model's install")
    for name, metavar, text in _SETTINGS:
        group.addoption(_option(name), dest=_dest(name), metavar=metavar, default=None, help=text)
        parser.addini(_dest(name), text, default="")
    for name, text in _FLAGS:
        group.addoption(
            _option(name), dest=_dest(name), action="store_true", default=None, help=text
        )
        parser.addini(_dest(name), text, type="bool", default=False)
    # Literal option strings: with nargs="?" argparse would take a path after --heal for its value.
    for mode, text in (
        ("apply", "repair what fails, then check it again"),
        ("plan", "say what --heal would do; change nothing"),
        ("ask", "like --heal, but ask before each repair"),
    ):
        names = ["--heal", "--heal=apply"] if mode == "apply" else [f"--heal={mode}"]
        group.addoption(
            *names,
            dest="modelmedic_heal",
            action="append_const",
            const=mode,
            default=None,
            help=text,
        )
    parser.addini("modelmedic_heal", "plan, ask or apply", default="")
    if not pluginmanager.hasplugin("cacheprovider"):  # -p no:cacheprovider; our ini file names it
        parser.addini("cache_dir", "unused", default="")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Describe our markers; if the checks are run, decide what is examined."""
    for line in (
        "check(id, area, needs=[], severity='blocker', stage=None): what a check is",
        "recover(family, using=[]): which recoveries may repair what this check finds",
        "guidance(page): what a person can do about it, where nothing may be repaired",
    ):
        config.addinivalue_line("markers", line)
    if config.option.help or not _runs_checks(config):
        return
    # The ini file makes warnings errors for our tests; a person's check must not fail by one.
    config.addinivalue_line("filterwarnings", "ignore")
    try:
        examination.attach(config, _examination(config))
    except ModelmedicError as error:
        raise pytest.UsageError(str(error)) from error


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop the embedded Hub if this run started it."""
    found = examination.of(config)
    if found is not None and found.hub is not None:
        found.hub.stop()


def _runs_checks(config: pytest.Config) -> bool:
    """Return whether the arguments of this run name the check room (or a part of it)."""
    room = rooms.room("checks")
    for arg in config.args:
        path = Path(config.invocation_params.dir, str(arg).partition("::")[0]).resolve()
        if path == room or room in path.parents or path in room.parents:
            return True
    return bool(_mode(config) != "check" or _setting(config, "profile"))


def _examination(config: pytest.Config) -> Examination:
    # Workers of xdist are told what the controller chose, so that all speak of one run.
    told: dict[str, Any] = getattr(config, "workerinput", {}).get("modelmedic", {})
    cwd = config.invocation_params.dir
    stage = _setting(config, "stage") or "auto"
    if stage not in {"auto", "preflight", "installed"}:
        raise pytest.UsageError(f"--stage={stage}: it is auto, preflight or installed.")
    profile = load_profile(_setting(config, "profile") or DEFAULT_PROFILE, cwd=cwd)
    context = discovery.discover(
        profile=profile,
        install_dir=_setting(config, "install_dir") or None,
        target_python=_setting(config, "target_python") or None,
        stage=stage,
        deep=bool(_setting(config, "deep")),
        offline=bool(_setting(config, "offline")),
        run_id=told.get("run_id") or runs.new_id(),
        command=_command(config),
        cwd=cwd,
        environ=os.environ,
    )
    context, hub = _with_embedded_hub(config, context, told)
    manifests, wheels = _manifests(config, profile), _path(config, "wheelhouse")
    context = dataclasses.replace(context, manifests=manifests, wheelhouse=str(wheels or ""))
    context = discovery.completed(context)  # by the manifests of the context too
    mode = _mode(config)
    is_closing = os.environ.get("MODELMEDIC_CLOSING_PASS") == "1"
    engine = Engine(context, budget=_budget(config), extras=_extras(config, mode, context))
    facts = FactBook(context, engine.generation)
    report_dir = Path(told.get("report_dir") or _report_dir(config, context))
    if is_closing:  # what the run before it hashed
        from modelmedic.facts import file_hashes

        facts.memo.update(file_hashes.recalled(report_dir / file_hashes.NAME))
    return Examination(
        context=context,
        facts=facts,
        engine=engine,
        registry=Registry(),
        mode=mode,
        allowed=_allowed(config),
        rootdir=config.rootpath,
        manifest=_path(config, "manifest"),
        plan_file=_path(config, "plan_file"),
        accepted=_accepted(config, mode, context, hub),
        report_dir=report_dir,
        is_worker=hasattr(config, "workerinput"),
        is_closing=is_closing,
        is_listing=any(getattr(config.option, name, None) for name in LISTINGS),
        checks=selection.parse(_setting(config, "checks") or ""),
        using=selection.names(_setting(config, "using") or ""),
        is_partial=_is_partial(config),
        hub=hub,
        is_verbose=getattr(config.option, "verbose", 0) > 0,
        strict_degraded=bool(_setting(config, "strict_degraded")),
        heal_again=bool(_setting(config, "heal_again")),
        is_low_priority=bool(_setting(config, "low_priority")),
        has_no_history=bool(_setting(config, "no_history")),
    )


def _is_partial(config: pytest.Config) -> bool:
    """Return whether the command line leaves out some of the shipped checks."""
    room = rooms.room("checks")
    paths = [Path(config.invocation_params.dir, str(arg)).resolve() for arg in config.args]
    is_whole = any(path == room or path in room.parents for path in paths)
    return (
        not is_whole
        or bool(_setting(config, "checks"))
        or any(getattr(config.option, name, None) for name in _SELECTING)
    )


def _mode(config: pytest.Config) -> str:
    """Return "check", "plan", "ask" or "apply".

    Two different ones are refused: `modelmedic plan --heal` must not repair because of the order.
    """
    given = _setting(config, "heal") or "check"
    modes = {given} if isinstance(given, str) else set(given)
    if len(modes) > 1:
        named = " and ".join(f"--heal={mode}" for mode in sorted(modes))
        raise pytest.UsageError(f"{named} were given; choose one of them.")
    mode: str = modes.pop()
    if mode not in {"check", "plan", "ask", "apply"}:
        raise pytest.UsageError(f"modelmedic_heal={mode}: it is plan, ask or apply.")
    return mode


def _extras(config: pytest.Config, mode: str, context: Context) -> dict[str, Any]:
    """Return what repairs that fetch need: tokens, digests of blocks, the limit of bandwidth."""

    def digests(sha256: str) -> Digests | None:
        from modelmedic.facts import known_digests

        return known_digests.known(context, sha256)

    tokens: dict[str, str] = {}
    if mode in {"apply", "ask"}:
        from modelmedic.facts import hub_access

        with contextlib.suppress(CannotTell):  # network.hub-token says what is wrong with it
            tokens = hub_access.bearer_tokens()
    found: dict[str, Any] = {"tokens": tokens, "digests": digests, "failed": {}}
    from modelmedic import patience

    told = vars(config.option)
    found["spending"] = patience.spending_of(told, os.environ, config.getini, context.profile)
    if given := _setting(config, "bandwidth"):
        found["bandwidth"] = patience.bandwidth_of(given)
    return found


def _with_embedded_hub(
    config: pytest.Config, context: Context, told: dict[str, Any]
) -> tuple[Context, Any]:
    """Return the context with the real address of the Hub that we serve ourselves, and it."""
    hub = None
    if not any(endpoint.url == EMBEDDED_DEMO for endpoint in context.profile.endpoints):
        return context, hub
    url = told.get("hub") or os.environ.get("MODELMEDIC_DEMO_HUB")
    if not url and not config.option.collectonly:
        from modelmedic.testing.hub import demo_hub

        hub = demo_hub()
        hub.start()
        url = hub.endpoint
    endpoints = tuple(
        dataclasses.replace(endpoint, url=url)
        if endpoint.url == EMBEDDED_DEMO and url
        else endpoint
        for endpoint in context.profile.endpoints
    )
    profile = dataclasses.replace(context.profile, endpoints=endpoints)
    return dataclasses.replace(context, profile=profile), hub


# -- settings --------------------------------------------------------------------------------------


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


def _dest(name: str) -> str:
    return f"modelmedic_{name}"


def _setting(config: pytest.Config, name: str) -> Any:
    """Return option, else environment, else ini file; None or "" when none says anything."""
    given = getattr(config.option, _dest(name), None)
    if given is not None:
        return given
    named = os.environ.get(f"MODELMEDIC_{name.upper()}")
    if named:
        return _flag(name, named) if any(name == flag for flag, _text in _FLAGS) else named
    return config.getini(_dest(name))


def _flag(name: str, text: str) -> bool:
    for value, words in ((True, {"1", "yes", "true", "on"}), (False, {"0", "no", "false", "off"})):
        if text.lower() in words:
            return value
    raise pytest.UsageError(f"MODELMEDIC_{name.upper()}={text}: it is 1 or 0.")


def _allowed(config: pytest.Config) -> frozenset[str]:
    given = [part for part in (_setting(config, "allow") or "").split(",") if part.strip()]
    allowed = frozenset(part.strip() for part in given)
    if unknown := allowed - set(RISKS):
        raise pytest.UsageError(
            f"--allow={','.join(sorted(unknown))}: the risk classes are {' and '.join(RISKS)}."
        )
    return allowed


def _budget(config: pytest.Config) -> Budget:
    values: dict[str, int | None] = {}
    for name in ("heal_budget_count", "heal_budget_bytes", "heal_budget_seconds"):
        given = _setting(config, name)
        if given and not (str(given).isdecimal() and len(str(given)) <= _MOST_DIGITS):
            raise pytest.UsageError(f"{_option(name)}={given}: it is a whole number.")
        values[name] = int(given) if given else None
    return Budget(
        count=values["heal_budget_count"],
        seconds=values["heal_budget_seconds"],
        fetch_bytes=values["heal_budget_bytes"],
    )


def _report_dir(config: pytest.Config, context: Context) -> Path:
    given = _setting(config, "report_dir")
    if given:
        return Path(config.invocation_params.dir, given).absolute()
    base = rooms.room("reports") if rooms.is_checkout() else context.state_dir
    return base / "runs" / context.run_id


def _manifests(config: pytest.Config, profile: Profile) -> tuple[Any, ...]:
    """Return the manifests of the run, the person's own first."""
    given = _path(config, "manifest")
    paths = [given] if given else []
    paths += [Path(model.manifest) for model in profile.models if model.manifest]
    if not paths:
        return ()
    from modelmedic.facts import manifest

    return tuple(manifest.read(path) for path in paths)


def _path(config: pytest.Config, name: str) -> Path | None:
    given = _setting(config, name)
    return Path(config.invocation_params.dir, given).absolute() if given else None


def _accepted(config: pytest.Config, mode: str, context: Context, hub: Any) -> PlanFile | None:
    """Return the plan that a repairing run keeps to; None when it may do what it finds."""
    path = _path(config, "plan_file")
    if path is None or mode == "plan":
        return None
    if mode == "check":
        raise pytest.UsageError("--plan-file needs --heal=plan, which writes it, or --heal.")
    from modelmedic.healing import planfile

    return planfile.read(path, context, _hub_url(config, hub))


def _hub_url(config: pytest.Config, hub: Any) -> str | None:
    """Return the address of the embedded Hub, which a worker was told."""
    told: dict[str, Any] = getattr(config, "workerinput", {}).get("modelmedic", {})
    return str(hub.endpoint) if hub is not None else told.get("hub")


def _command(config: pytest.Config) -> str:
    """Return the command that repeats this run, without what only steers one run."""
    form = os.environ.get("MODELMEDIC_INVOKED_AS")
    parts = [form] if form else ["pytest", *_paths(config)]
    for name in _REPEATED:
        value = _setting(config, name)
        if value:
            parts.append(f"{_option(name)}={quoted(str(value))}")
    if _setting(config, "low_priority"):
        parts.append("--low-priority")
    if _setting(config, "deep"):  # without it, what was found in the bytes is not found again
        parts.append("--deep")
    return " ".join(parts)


def _paths(config: pytest.Config) -> list[str]:
    """Return the ini file and the paths of the command line, as the person gave them."""
    given = [str(arg) for arg in config.invocation_params.args]
    ini = ["-c", quoted(str(config.inipath))] if "-c" in given and config.inipath else []
    paths = [quoted(arg) for arg in given if arg in config.args]
    return [*ini, *paths]
