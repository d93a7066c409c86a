"""The public classes are those of the user's design: names, parameters, fields, values.

``seed_interfaces.txt`` is the design's own text. Where we differ, docs lists it with the reason:
a difference that is not listed fails, and so does a listed one that is none.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
from pathlib import Path

import pytest
from support import CHECKOUT

import modelmedic
from modelmedic import (
    EnhancedErrorCategory,
    RecoveryAction,
    RecoveryStrategyRegistry,
    ReliabilityManager,
    ReliabilityWrapper,
    TimeoutManager,
)

SEED = ast.parse(Path(__file__).with_name("seed_interfaces.txt").read_text("utf-8"))
CLASSES = {node.name: node for node in SEED.body if isinstance(node, ast.ClassDef)}
# Which the design uses, and defines nowhere.
ONLY_NAMED = {
    "IRecoveryStrategy",
    "RecoveryAction",
    "ValidationResult",
    "HardwareProfile",
    "GPUInfo",
    "HealthStatus",
    "PotentialIssue",
    "HealthReport",
    "InstallationReport",
    "TrendAnalysis",
}
PAGE = CHECKOUT / "docs" / "installer-library.md"
INTERFACES = [name for name in CLASSES if name.startswith("I")]
DATACLASSES = [name for name, node in CLASSES.items() if node.decorator_list]


def listed():
    """Return the first column of the table of divergences."""
    text = PAGE.read_text("utf-8")
    section = text.partition("<!-- divergences -->")[2].partition("<!-- /divergences -->")[0]
    return set(re.findall(r"^\| `([^`]+)` \|", section, re.MULTILINE))


def plain(annotation):
    """Return an annotation in today's spelling; empty for none."""
    if annotation in {None, inspect.Parameter.empty}:
        return ""
    text = annotation if isinstance(annotation, str) else ast.unparse(annotation)
    text = re.sub(r"\bOptional\[(\w+)\]", r"\1 | None", text)
    return text.replace("Dict", "dict").replace("List", "list")


def is_same(theirs, ours):
    """Return whether our annotation says what theirs does, or more: dict, dict[str, Any]."""
    theirs, ours = plain(theirs), plain(ours)
    return theirs in {"", ours} or ours.startswith(f"{theirs}[")


def functions(node):
    return [entry for entry in node.body if isinstance(entry, ast.FunctionDef)]


def differences_of_function(owner, theirs, ours):
    """Yield what differs between a function of the design and ours."""
    name = f"{owner}.{theirs.name}"
    parameters = list(inspect.signature(ours).parameters.values())
    wanted = theirs.args.args
    if [p.name for p in parameters[: len(wanted)]] != [a.arg for a in wanted]:
        yield f"{name}: parameters"
        return
    for entry, parameter in zip(wanted, parameters, strict=False):
        if not is_same(entry.annotation, parameter.annotation):
            yield f"{name}({entry.arg}): {plain(entry.annotation)}"
    for parameter in parameters[len(wanted) :]:
        if parameter.default is parameter.empty and parameter.kind.name.endswith("ONLY"):
            yield f"{name}({parameter.name}) is needed"
    if not is_same(theirs.returns, inspect.signature(ours).return_annotation):
        yield f"{name} -> {plain(theirs.returns)}"


def differences():
    """Yield every difference between the design's text and the public face."""
    for name, node in CLASSES.items():
        ours = getattr(modelmedic, name)
        for function in functions(node):
            if not function.name.startswith("__") or function.name == "__init__":
                yield from differences_of_function(name, function, getattr(ours, function.name))
    for name in DATACLASSES:
        fields = dataclasses.fields(getattr(modelmedic, name))
        wanted = [entry for entry in CLASSES[name].body if isinstance(entry, ast.AnnAssign)]
        if [f.name for f in fields[: len(wanted)]] != [e.target.id for e in wanted]:
            yield f"{name}: fields"
        for entry, field in zip(wanted, fields, strict=False):
            if not is_same(entry.annotation, field.type):
                yield f"{name}.{entry.target.id}: {plain(entry.annotation)}"
        if getattr(modelmedic, name).__dataclass_params__.frozen:
            yield "@dataclass"
    yield from differences_of_the_registry()
    # What the wrapper of the design calls on the manager, which its interface does not have.
    called = set(re.findall(r"self\.reliability_manager\.(\w+)\(", ast.unparse(SEED)))
    interface = {function.name for function in functions(CLASSES["IReliabilityManager"])}
    yield from sorted(called - interface)


def differences_of_the_registry():
    wanted = ast.literal_eval(ast.unparse(_named(strategies_of_the_design())))
    ours = {
        family: [entry.name for entry in entries]
        for family, entries in RecoveryStrategyRegistry.strategies.items()
    }
    for family, names in wanted.items():
        if ours.get(family) != names:
            yield f"RecoveryStrategyRegistry.strategies[{family!r}]"
        if not isinstance(RecoveryStrategyRegistry.strategies.get(family), list):
            yield "RecoveryStrategyRegistry.strategies: list"


def strategies_of_the_design():
    (assigned,) = (e for e in CLASSES["RecoveryStrategyRegistry"].body if isinstance(e, ast.Assign))
    return assigned.value


def _named(value):
    """Return a literal of names in place of calls: ``[X()]`` becomes ``["X"]``."""

    class Names(ast.NodeTransformer):
        def visit_Call(self, node):
            return ast.Constant(node.func.id)

    return ast.fix_missing_locations(Names().visit(value))


def test_the_specimen_holds_what_the_issue_names():
    assert set(INTERFACES) == {
        "IPreInstallationValidator", "IReliabilityManager", "IAutoRecoveryEngine",
        "IDiagnosticMonitor",
        "IHealthReporter",
    }  # fmt: skip
    assert set(DATACLASSES) == {
        "EnhancedErrorContext", "SystemInfo", "ResourceSnapshot", "NetworkStatus",
    }  # fmt: skip
    assert len(functions(CLASSES["IPreInstallationValidator"])) == 5


@pytest.mark.parametrize("name", sorted({*CLASSES, *ONLY_NAMED}))
def test_each_class_of_the_design_is_public_and_documented(name):
    assert name in modelmedic.__all__
    assert inspect.getdoc(getattr(modelmedic, name))
    for function in functions(CLASSES[name]) if name in CLASSES else []:
        if not function.name.startswith("__"):
            assert inspect.getdoc(getattr(getattr(modelmedic, name), function.name)), function.name


def test_each_difference_from_the_design_is_listed_and_each_listed_one_is_there():
    assert set(differences()) == listed()


@pytest.mark.parametrize("name", INTERFACES)
def test_an_interface_is_abstract_in_every_method_of_the_design(name):
    abstract = getattr(modelmedic, name).__abstractmethods__
    assert {function.name for function in functions(CLASSES[name])} <= abstract


@pytest.mark.parametrize("name", DATACLASSES)
def test_fields_that_are_ours_alone_may_be_left_out(name):
    wanted = sum(isinstance(entry, ast.AnnAssign) for entry in CLASSES[name].body)
    for field in dataclasses.fields(getattr(modelmedic, name))[wanted:]:
        has_default = field.default is not dataclasses.MISSING
        assert has_default or field.default_factory is not dataclasses.MISSING, field.name


def test_the_categories_have_the_names_and_values_of_the_design():
    wanted = {
        entry.targets[0].id: entry.value.value
        for entry in CLASSES["EnhancedErrorCategory"].body
        if isinstance(entry, ast.Assign)
    }
    assert len(wanted) == 12
    assert {entry.name: entry.value for entry in EnhancedErrorCategory} == wanted


def test_the_actions_are_those_that_the_wrapper_of_the_design_knows():
    used = set(re.findall(r"RecoveryAction\.(\w+)", ast.unparse(SEED)))
    assert used <= {entry.name for entry in RecoveryAction}
    assert {entry.name for entry in RecoveryAction} - used == {"ABORT"}  # its `else: raise`


def test_the_time_limits_of_the_design_hold_to_the_second():
    wanted = next(
        ast.literal_eval(entry.value)
        for entry in CLASSES["TimeoutManager"].body
        if isinstance(entry, ast.Assign)
    )
    assert len(wanted) == 5
    assert {key: TimeoutManager.DEFAULT_TIMEOUTS[key] for key in wanted} == wanted
    namespace = {"Dict": dict}
    exec(ast.unparse(CLASSES["TimeoutManager"]), namespace)
    for operation in [*wanted, "unknown"]:
        for size in (0, 5, 5.1):
            for speed in ("fast", "slow"):
                for tries in (0, 1, 7):
                    context = {
                        "file_size_gb": size, "network_speed": speed, "retry_count": tries,
                    }  # fmt: skip
                    theirs = namespace["TimeoutManager"]().get_timeout(operation, context)
                    assert TimeoutManager().get_timeout(operation, context) == theirs
        assert TimeoutManager().get_timeout(operation, {}) == wanted.get(operation, 300)


def test_a_wrapper_has_the_attributes_of_the_design():
    class Downloader:
        pass

    component, manager = Downloader(), ReliabilityManager()
    wrapper = ReliabilityWrapper(component, manager)
    assigned = re.findall(r"self\.(\w+) = ", ast.unparse(CLASSES["ReliabilityWrapper"]))
    assert assigned == ["component", "reliability_manager", "component_name"]
    assert wrapper.component is component
    assert wrapper.reliability_manager is manager
    assert wrapper.component_name == "Downloader"


def test_a_difference_would_be_seen():
    (found,) = ast.parse("def get_timeout(self, operation, size): pass").body
    assert list(differences_of_function("T", found, TimeoutManager.get_timeout)) == [
        "T.get_timeout: parameters"
    ]
    (found,) = ast.parse("def get_timeout(self, operation: int) -> str: pass").body
    assert list(differences_of_function("T", found, TimeoutManager.get_timeout)) == [
        "T.get_timeout(operation): int",
        "T.get_timeout -> str",
    ]
