"""From what failed to its family, to the strategies of the design, to recoveries that exist."""

from __future__ import annotations

import ast
import re

import pytest
from support import CHECKOUT

from modelmedic import rooms
from modelmedic.errors import RecoveryRefused
from modelmedic.findings import EnhancedErrorCategory as Category
from modelmedic.healing import slots
from modelmedic.healing.registry import (
    CATEGORY_OF_AREA,
    FAMILIES,
    FAMILY_OF_CATEGORY,
    Recovery,
    Registry,
    family_of,
    recovery,
)

STRATEGIES = slots.RecoveryStrategyRegistry.strategies
SLOTS = [strategy for family in STRATEGIES.values() for strategy in family]
by_slot = pytest.mark.parametrize("slot", SLOTS, ids=lambda slot: f"{slot.family}-{slot.name}")


def room():
    """Return the recovery room's entries, also when a run in this process made fixtures of them."""
    for module in rooms.load_all("recoveries"):
        for value in vars(module).values():
            plain = getattr(value, "_get_wrapped_function", lambda value=value: value)()
            if isinstance(getattr(plain, "recovery", None), Recovery):
                yield plain.recovery


@pytest.fixture
def registry():
    return Registry(room())


def made(name="mend", family="system", **kwargs):
    def mend():
        """Mend it."""

    mend.__name__ = name
    return recovery(family, **kwargs)(mend).recovery


# --- families


def test_every_category_and_area_leads_to_a_family():
    assert set(FAMILY_OF_CATEGORY) == set(Category)
    assert set(FAMILY_OF_CATEGORY.values()) == set(FAMILIES)
    assert {family_of(category, area) for area, category in CATEGORY_OF_AREA.items()} <= set(
        FAMILIES
    )


def test_a_damaged_package_is_no_matter_of_the_model():
    assert family_of(Category.CORRUPTION, "weights") == "model_validation"
    assert family_of(Category.CORRUPTION) == "model_validation"
    assert family_of(Category.CORRUPTION, "python") == "dependency_failure"
    assert family_of(Category.VALIDATION, "config") == "configuration"
    assert family_of(Category.TIMEOUT, "python") == "network_failure"


# --- the design's strategies


def test_the_sixteen_slots_are_those_of_the_design_in_its_order():
    assert {family: [entry.name for entry in chain] for family, chain in STRATEGIES.items()} == {
        "missing_method": [
            "DynamicMethodInjectionStrategy", "FallbackImplementationStrategy",
            "AlternativeClassStrategy", "ManualInterventionStrategy",
        ],
        "model_validation": [
            "ModelRedownloadStrategy", "ModelRepairStrategy",
            "AlternativeSourceStrategy", "SkipModelStrategy",
        ],
        "network_failure": [
            "RetryWithBackoffStrategy", "AlternativeSourceStrategy",
            "ProxyConfigurationStrategy", "OfflineModeStrategy",
        ],
        "dependency_failure": [
            "AlternativeSourceStrategy", "VersionFallbackStrategy",
            "OfflineInstallStrategy", "VenvRecreationStrategy",
        ],
    }  # fmt: skip
    assert len(SLOTS) == 16
    assert len({slot.name for slot in SLOTS}) == 14


@by_slot
def test_a_slot_has_recoveries_that_exist_or_says_why_it_has_none(slot, registry):
    refused = {attempt.recovery: attempt.error for attempt in registry.refusals([slot.family])}
    if slot.name not in refused:
        entries = registry.carry_out(slot)
        assert entries
        assert set(entries) <= set(registry.for_family(slot.family))
        return
    with pytest.raises(RecoveryRefused, match=f"^{slot.name} was not tried: ") as caught:
        registry.carry_out(slot)
    assert str(caught.value) == refused[slot.name]
    assert caught.value.why.endswith(".")
    assert caught.value.next_step.endswith((".", ")."))


def test_no_strategy_changes_anything_by_itself():
    """They only name recoveries: nothing beside them could be a second copy of a repair."""
    tree = ast.parse((CHECKOUT / "src/modelmedic/healing/slots.py").read_text(encoding="utf-8"))
    imported = {
        alias.name if isinstance(node, ast.Import) else node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    assert imported <= {
        "__future__", "abc", "collections.abc", "types", "typing", "modelmedic.errors",
        "modelmedic.reliability.interfaces",  # the type of what became of it
    }  # fmt: skip


# --- chains


def test_a_family_has_its_own_recoveries_and_those_of_its_strategies(registry):
    names = [entry.name for entry in registry.for_family("model_validation")]
    assert names == [
        "relink_hub_snapshot", "restore_hub_ref", "set_aside_hub_listing",
        "move_misplaced_model_file", "copy_identical_file", "rebuild_weight_index",
        "bring_up_model", "fetch_missing_tail",
        "repair_damaged_blocks",
        "replace_pointer_or_page", "rewrite_differing_blocks", "refetch_model_file",
        "fetch_from_alternative_source", "skip_optional_model",
    ]  # fmt: skip
    assert [entry.name for entry in registry.for_family("network_failure")] == [
        "copy_identical_file", "refetch_model_file", "fetch_from_alternative_source",
        "wait_and_ask_again", "configure_proxy", "trust_by_system_store",
        "use_alternative_endpoint", "work_offline",
    ]  # fmt: skip
    assert registry.for_family("missing_method") == []


def test_named_recoveries_are_all_that_is_tried(registry):
    chain = registry.chain(["permission", "system"], ["restore_config", "remove_stale_lock"])
    assert [entry.name for entry in chain] == ["restore_config", "remove_stale_lock"]


def test_several_families_are_tried_in_their_order_each_recovery_once(registry):
    families = ["network_failure", "model_validation", "configuration"]
    names = [entry.name for entry in registry.chain(families)]
    assert names[:3] == [
        "copy_identical_file", "refetch_model_file", "fetch_from_alternative_source",
    ]  # fmt: skip
    assert names[-1] == "restore_config"
    of_two = {
        entry.name
        for family in ("network_failure", "model_validation")
        for entry in registry.for_family(family)
    }
    assert len(names) == len(set(names)) == len(of_two) + 1


# --- names


def test_a_name_is_taken_once_and_both_owners_are_named():
    import dataclasses

    first = made()
    other = dataclasses.replace(made(), distribution="acme-repairs 2.1")
    registry = Registry([first, first])
    assert registry.names() == ["mend"]
    with pytest.raises(
        ValueError, match=r"named mend: one of modelmedic, one of acme-repairs 2\.1"
    ):
        registry.add(other)


@pytest.mark.parametrize(
    ("kwargs", "words"),
    [
        ({"family": "weather"}, "unknown family 'weather'; known are missing_method, "),
        ({"risk": "mild"}, "unknown risk 'mild'; known are safe, costly, destructive"),
        ({"limit": "soon"}, "unknown limit 'soon'; known are model_download, "),
    ],
)
def test_a_recovery_is_refused_when_it_is_made(kwargs, words):
    with pytest.raises(ValueError, match=words):
        made(**kwargs)


@pytest.mark.parametrize(
    ("args", "kwargs", "words"),
    [
        (("system",), {}, ""),
        (("system",), {"using": ["create_missing_folder"]}, ""),
        ((), {}, "takes a family"),
        (("system", "network_failure"), {}, "takes a family"),
        (("system",), {"use": ["create_missing_folder"]}, "takes a family"),
        (("weather",), {}, "'weather'; known are missing_method, "),
        (("system",), {"using": "create_missing_folder"}, "using=['create_missing_folder']"),
        (("system",), {"using": ["pray"]}, "'pray', which no plugin brings; known are bring_up_"),
    ],
)
def test_a_marker_says_what_is_wrong_with_it(registry, args, kwargs, words):
    problem = registry.problem_of(args, kwargs)
    assert words in problem
    assert bool(problem) is bool(words)


# --- the docs


def page():
    return (CHECKOUT / "docs" / "writing-recoveries.md").read_text(encoding="utf-8")


def test_the_docs_say_what_carries_out_each_strategy(registry):
    rows = re.findall(r"^\| (?:`\w+`)? ?\| `(\w+Strategy)` \| (.+) \|$", page(), re.MULTILINE)
    assert [name for name, _carried in rows] == [slot.name for slot in SLOTS]
    for slot, (_name, carried) in zip(SLOTS, rows, strict=True):
        if carried.startswith("refuses"):
            with pytest.raises(RecoveryRefused):
                slot.recoveries()
        else:
            assert tuple(re.findall(r"`(\w+)`", carried)) == slot.recoveries()


def test_the_docs_say_to_which_family_each_category_leads():
    section = page().partition("\n## What an error is\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`[a-z_`, ]+`) \| `(\w+)`", section, re.MULTILINE)
    told = {name: family for names, family in rows for name in re.findall(r"`(\w+)`", names)}
    expected = {category.value: family for category, family in FAMILY_OF_CATEGORY.items()}
    assert {name: told.get(name) for name in expected} == expected
