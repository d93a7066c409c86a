"""Settings files: what they hold, and each way in which they cannot be read."""

from __future__ import annotations

import os
import re

import pytest
import support

from modelmedic.facts import configs
from modelmedic.facts.safe_open import State
from modelmedic.profile.model import ConfigFile, ConfigKey

SAME = {"run": {"steps": 20, "fast": True, "name": "a"}}


@pytest.mark.parametrize(
    ("file_format", "text"),
    [
        ("json", '{"run": {"steps": 20, "fast": true, "name": "a"}}'),
        ("toml", '[run]\nsteps = 20\nfast = true\nname = "a"\n'),
    ],
)
def test_the_formats_are_read_to_the_same_values(file_format, text):
    assert configs.parse_config(text.encode(), file_format) == SAME
    assert configs.parse_config(b"\xef\xbb\xbf" + text.encode(), file_format) == SAME


def test_an_ini_file_is_read_as_sections_of_texts():
    values = configs.parse_config(b"[Run]\nSteps = 20\npath = 100%\n", "ini")
    assert values == {"Run": {"steps": "20", "path": "100%"}}
    assert configs.value_of(values, "Run.Steps", "ini") == "20"


@pytest.mark.parametrize(
    ("file_format", "data", "words"),
    [
        ("json", b"", "empty"),
        ("toml", b" \n", "white space"),
        ("ini", b"", "empty"),
        ("json", b'{"a": 1,\n "b": }', "line 2, column 7"),
        ("json", b"[1, 2]", "table of settings"),
        ("json", b"[" * 100_000, "nested"),
        ("json", b'{"a": ' + b"9" * 5000 + b"}", "JSON"),
        ("json", b'{"a": "\xff"}', "byte 7 is 0xff"),
        ("json", '{"a": 1}'.encode("utf-16"), "UTF-16"),
        ("json", '{"a": 1}'.encode("utf-32"), "UTF-32"),
        ("toml", b"a = \n", "line 1"),
        ("ini", b"a = 1\n", "no section"),
        ("ini", b"[a]\nb=1\nb=2\n", "already exists"),
    ],
)
def test_what_does_not_parse_says_where_and_why(file_format, data, words):
    with pytest.raises(configs.Unreadable, match=re.escape(words)) as refused:
        configs.parse_config(data, file_format)
    assert "\n" not in str(refused.value)


def test_another_format_is_a_mistake_of_the_caller():
    with pytest.raises(ValueError, match="yaml"):
        configs.parse_config(b"a: 1", "yaml")


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        (ConfigKey("k", "integer"), 3, ""),
        (ConfigKey("k", "integer"), True, "no integer"),
        (ConfigKey("k", "integer"), 3.0, "no integer"),
        (ConfigKey("k", "number"), 3, ""),
        (ConfigKey("k", "number"), False, "no number"),
        (ConfigKey("k", "boolean"), True, ""),
        (ConfigKey("k", "boolean"), 1, "no boolean"),
        (ConfigKey("k", "string"), "x", ""),
        (ConfigKey("k", "string"), None, "no string"),
        (ConfigKey("k", "array"), [1], ""),
        (ConfigKey("k", "object"), {}, ""),
        (ConfigKey("k", "object"), [], "no object"),
        (ConfigKey("k", "integer", minimum=1, maximum=5), 0, "least allowed, 1"),
        (ConfigKey("k", "integer", minimum=1, maximum=5), 6, "most allowed, 5"),
        (ConfigKey("k", "number", minimum=1), float("nan"), "least allowed"),
        (ConfigKey("k", "number", maximum=1), float("nan"), "most allowed"),
        (ConfigKey("k", "string", choices=("a", "b")), "c", "none of 'a', 'b'"),
        (ConfigKey("k", "integer", choices=(1, 2)), 2, ""),
        (ConfigKey("k", "boolean", choices=(1,)), True, "none of 1"),
        (ConfigKey("k", "string", minimum=3), "x", ""),
    ],
)
def test_a_value_is_judged_by_type_range_and_choices(key, value, problem):
    found = configs.problem_with(key, value, "json")
    assert problem in found
    assert bool(found) == bool(problem)


@pytest.mark.parametrize(
    ("kind", "text", "is_good"),
    [
        ("integer", "12", True),
        ("integer", "1.5", False),
        ("number", "1.5", True),
        ("boolean", "Yes", True),
        ("boolean", "perhaps", False),
        ("string", "anything", True),
    ],
)
def test_the_texts_of_an_ini_file_are_read_as_the_type_asked_for(kind, text, is_good):
    assert (configs.problem_with(ConfigKey("k", kind), text, "ini") == "") is is_good


def test_missing_and_wrong_keys_are_named_and_unknown_ones_pass():
    config = ConfigFile(
        "c.json",
        "json",
        keys=(
            ConfigKey("run.steps", "integer"),
            ConfigKey("run.name.deeper", "string"),
            ConfigKey("gone", "string"),
            ConfigKey("maybe", "string", is_required=False),
            ConfigKey("run.fast", "integer"),
        ),
    )
    found = configs.problems_with(config, SAME | {"unknown": 1})
    assert found == (
        "run.name.deeper is missing",
        "gone is missing",
        "run.fast is True, which is no integer",
    )


def test_a_file_on_disk_is_read_with_its_state(tmp_path):
    (tmp_path / "c.json").write_bytes(b'\xef\xbb\xbf{"a": 1}')
    facts = support.make_facts(tmp_path)
    config = facts.get(configs.read_config, "c.json", "json")
    assert config.values == {"a": 1}
    assert config.has_bom
    assert facts.get(configs.read_config, "gone.json", "json").state.state is State.MISSING


def test_a_huge_file_is_not_read(tmp_path):
    (tmp_path / "c.json").write_bytes(b"")
    os.truncate(tmp_path / "c.json", 5 << 30)
    config = support.make_facts(tmp_path).get(configs.read_config, "c.json", "json")
    assert "5,368,709,120 bytes" in config.problem


@pytest.mark.skipif(os.name == "nt", reason="pipes and links of POSIX")
def test_a_pipe_or_a_link_out_is_not_read(tmp_path):
    place = tmp_path / "install"
    place.mkdir()
    os.mkfifo(place / "pipe.json")
    (tmp_path / "secret.json").write_text("{}")
    (place / "out.json").symlink_to("../secret.json")
    facts = support.make_facts(place)
    assert facts.get(configs.read_config, "pipe.json", "json").state.state is State.NOT_REGULAR
    out = facts.get(configs.read_config, "out.json", "json")
    assert out.state.state is State.OUTSIDE
    assert out.values == {}
