"""The checks of the app's settings, called with real files."""

from __future__ import annotations

import pytest
import support

from modelmedic import rooms
from modelmedic.errors import CannotTell, Unhealthy
from modelmedic.profile.model import ConfigFile, ConfigKey

CONFIG = ConfigFile(
    "conf/app.json",
    "json",
    keys=(ConfigKey("steps", "integer", minimum=1), ConfigKey("out", "string")),
)
OPTIONAL = ConfigFile("conf/app.json", "json", is_required=False, keys=CONFIG.keys)
GOOD = '{"steps": 4, "out": "x", "more": 1}'


@pytest.fixture
def checks():
    return rooms.load("checks", "test_config")


@pytest.fixture
def judge(checks, tmp_path):
    """Return ``judge(text, config)``: both checks on a file of that text; the losses stated."""

    def run(text: bytes | str | None, config: ConfigFile = CONFIG) -> list[str]:
        if text is not None:
            (tmp_path / "conf").mkdir(exist_ok=True)
            data = text.encode() if isinstance(text, str) else text
            (tmp_path / "conf/app.json").write_bytes(data)
        facts = support.make_facts(tmp_path, support.make_profile(configs=(config,)))
        losses = []
        checks.warm(facts)
        checks.test_config_file_is_readable(
            facts, facts.context, config, lambda what, *_, **__: losses.append(what)
        )
        checks.test_config_file_has_its_keys(facts, facts.context, config)
        return losses

    return run


def test_a_good_file_passes_with_unknown_keys(judge):
    assert judge(GOOD) == []


def test_a_missing_file_fails_if_it_is_required_and_is_skipped_if_not(judge):
    with pytest.raises(Unhealthy) as failed:
        judge(None)
    assert failed.value.subject == "conf/app.json"
    assert "conf/app.json is missing" in failed.value.what
    assert "`pytest checks/ --heal`" in failed.value.next_step
    with pytest.raises(pytest.skip.Exception):
        judge(None, OPTIONAL)


@pytest.mark.parametrize("text", ["", '{"steps": 4,', b"\xff\xfe{\x00}\x00"])
def test_a_file_that_does_not_parse_fails_with_the_place(judge, text):
    with pytest.raises(Unhealthy) as failed:
        judge(text)
    assert failed.value.failure_id == "config-json-invalid"
    assert failed.value.subject == "conf/app.json"
    assert failed.value.evidence["problem"] in failed.value.why


def test_a_byte_order_mark_is_a_stated_loss(judge):
    assert "byte order mark" in judge("\ufeff" + GOOD)[0]


def test_a_missing_key_and_a_wrong_value_are_told_together(judge):
    with pytest.raises(Unhealthy) as failed:
        judge('{"steps": 0}')
    assert "2 wrong keys" in failed.value.what
    assert "steps is 0, below the least allowed, 1" in failed.value.what
    assert "out is missing" in failed.value.what
    assert failed.value.failure_id == "config-key-missing-after-update"


def test_hostile_text_is_shown_escaped(judge):
    with pytest.raises(Unhealthy) as failed:
        judge('{"steps": "\\u001b[31m\\n", "out": "x"}')
    assert "\x1b" not in str(failed.value)
    assert "\n" not in str(failed.value)
    assert failed.value.failure_id is None


def test_keys_of_a_file_that_cannot_be_read_are_unknown(checks, tmp_path):
    facts = support.make_facts(tmp_path)
    with pytest.raises(CannotTell):
        checks.test_config_file_has_its_keys(facts, facts.context, CONFIG)
    with pytest.raises(pytest.skip.Exception):
        checks.test_config_file_has_its_keys(facts, facts.context, OPTIONAL)
    with pytest.raises(pytest.skip.Exception):
        checks.test_config_file_has_its_keys(facts, facts.context, ConfigFile("x", "json"))


def test_a_folder_in_place_of_the_file_fails_and_a_link_out_is_unknown(judge, tmp_path):
    (tmp_path / "conf/app.json").mkdir(parents=True)
    with pytest.raises(Unhealthy, match="is a folder"):
        judge(None)
    (tmp_path / "conf/app.json").rmdir()
    (tmp_path / "conf/app.json").symlink_to("/etc/hosts")
    with pytest.raises(CannotTell, match="leads out"):
        judge(None)
