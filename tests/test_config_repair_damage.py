"""Config repair of damaged files: what is whole is kept in its place, the rest is named."""

from __future__ import annotations

import pytest
from config_repair_support import RUN_STEPS, Bench

from modelmedic.profile.model import ConfigKey


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ('{"a": {"b": [1, 2,], "c": 3,},\n "steps": 5,}', '{"a": {"b": [1, 2], "c": 3},\n "steps": 5}'),
        ('{\n  // why\n  "steps": 5, // here\n  /* and\n here */\n  "u": "http://x"\n}\n',
         '{\n  "steps": 5,\n  "u": "http://x"\n}\n'),
        ('{\n  "a": {"b": 1}\n  "steps": 5\n}', '{\n  "a": {"b": 1},\n  "steps": 5\n}'),
        (r'{"p": "C:\models\wan", "steps": 5}', r'{"p": "C:\\models\\wan", "steps": 5}'),
    ],
)  # fmt: skip
def test_common_mistakes_by_hand_cost_no_value(tmp_path, text, right):
    bench = Bench(tmp_path, "json")
    assert bench.mend(text) == right
    assert bench.reason.startswith("keeping all else; corrected: ")


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ('{"a": {"b": 1, "c": "x"}, "steps": 5, "d": [1, 2', {"a": {"b": 1, "c": "x"}, "steps": 5}),
        ('{"steps": 5, "n": 12', {"steps": 5}),
        ('{"steps": 5, "n": 12\0\0\0\0', {"steps": 5}),
        ('{"a": 1, "a": xx, "steps": 5}', {"steps": 5}),
        ('{"a": [1, {"b": x}], "steps": 5}', {"steps": 5}),
        ('{"a": 1}{"steps": 5}', {"a": 1, "steps": 20}),
        ('{\n "run": {\n  "steps": 9\n },\n "steps" 7,\n "b": 1\n}', {"run": {"steps": 9}, "steps": 20, "b": 1}),
        # a lost line that opened or closed a table: its keys do not move to another table
        ('{\n "a": 1,\n  "steps": 9\n },\n "b": 2\n}', {"a": 1, "b": 2, "steps": 20}),
        ('{\n "run": {\n  "x": 9\n "steps": 2\n}', {"run": {"x": 9}, "steps": 2}),
        ('{\n "run": [\n  1,\n  2\n "steps": 2\n}', {"steps": 2}),
        ('[\n  "a": 1,\n  "steps": 2\n}', {"a": 1, "steps": 2}),
        ('\n  "a": 1,\n  "steps": 2\n}', {"a": 1, "steps": 2}),
        ('{\n  "run": {\n    "a": [1},\n    "steps": 2\n  }\n}', {"run": {"steps": 2}, "steps": 20}),
        # half a quote: what stood in the text is no bracket of the file, and no indentation
        ('{\n  "a": "x}",\n " "b": "y}z",\n  "steps": 2\n}', {"a": "x}", "steps": 2}),
        ('{\n !"a": 1,\n  "run": {\n    "steps": 2\n  }\n}', {"run": {"steps": 2}, "steps": 20}),
        ('{\n  "run": {\n      "x": 1\n    },\n    "y": {\n      "z": 2\n    }\n  }\n}', {"run": {"y": {"z": 2}}, "steps": 20}),
        ('{\n  "run": {"x": 1,\n          "y": 2\n  "steps": 2\n}', {"run": {"x": 1, "y": 2}, "steps": 2}),
        ('{"b": 3}, [\n  {\n    "steps": 2\n  }\n]', {"b": 3, "steps": 20}),
    ],
)  # fmt: skip
def test_damaged_json_keeps_every_whole_value_in_its_place(tmp_path, text, values):
    bench = Bench(tmp_path, "json")
    bench.mend(text)
    assert bench.values() == values
    assert "not readable: " in bench.reason


def test_the_good_copy_fills_the_gaps_of_a_damaged_file(tmp_path):
    bench = Bench(tmp_path, "json")
    bench.remember('{"steps": 7, "run": {"a": 1, "b": 2}, "gone": true}')
    bench.mend('{"steps": 5, "run": {"a": 9, "b')
    assert bench.values() == {"steps": 5, "run": {"a": 9, "b": 2}, "gone": True}
    assert "from the last good copy: run.b, gone" in bench.reason


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ('# top\nsteps = 5\nname = "x\n[t] # c\na = 1\n', "# top\nsteps = 5\n[t] # c\na = 1\n"),
        ("steps = 5\n[t\na = 1\n[u]\nb = 1\n", "steps = 5\n[u]\nb = 1\n"),
        ("steps = 5\na = [1,\n 2\nb = 1\n", "steps = 5\nb = 1\n"),
        ("steps = 5\nsteps = 6\n[a]\n[b]\n[a]\nc = 1\n[d]\n", "steps = 5\n[a]\n[b]\n[d]\n"),
        ('steps = 5\na = """\nb = 1\n', "steps = 5\n"),
        ("steps = 5\nZt]\nb = 1\n[u]\nc = 1\n", "steps = 5\n[u]\nc = 1\n"),
        ("steps = 5\n{t] # c\nb = 1\n[u]\nc = 1\n", "steps = 5\n[u]\nc = 1\n"),
        ("steps = 5\n[t]\n[a = 1\nb = 1\n", "steps = 5\n[t]\nb = 1\n"),
        ("steps = 5\n[a=1]\nb = 1\n[u]\n", "steps = 5\n[u]\n"),
        ("steps = 5\na = 1,\n 2]\nb = 1\n", "steps = 5\nb = 1\n"),
        ("steps = 5\na = [\\\n[t]\nb = 1\n", "steps = 5\n[t]\nb = 1\n"),
        ("steps = 5\na = [\n[1],\n[2]\nb = 1\n", "steps = 5\nb = 1\n"),
    ],
)
def test_damaged_toml_keeps_every_whole_statement(tmp_path, text, right):
    bench = Bench(tmp_path, "toml")
    assert bench.mend(text) == right


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("# top\n[a]\nsteps = 5\nflag\nb = 1\n", "# top\n[a]\nsteps = 5\nb = 1\n"),
        ("[a]\nsteps = 5\njunk\n  more = 1\nb = 1\n", "[a]\nsteps = 5\nb = 1\n"),
        ("lost = 1\n[a]\nsteps = 5\n[b\nc = 1\n[d]\n", "[a]\nsteps = 5\n[d]\n"),
        ("[a]\nsteps = 5\nZb]\nsteps = 1\n[d]\n", "[a]\nsteps = 5\n[d]\n"),
        ("[a]\nsteps = 5\nx = 1\n[b]\n[a]\nX = 2\n", "[a]\nsteps = 5\nX = 2\n[b]\n"),
    ],
)
def test_damaged_ini_keeps_every_whole_line(tmp_path, text, right):
    bench = Bench(tmp_path, "ini", ConfigKey("a.steps", "integer"))
    assert bench.mend(text) == right


@pytest.mark.parametrize("data", [None, b"", b"\0" * 600, b"\xff\xfe\0", b"[1, 2]"])
def test_where_nothing_can_be_read_the_good_copy_is_written_as_it_was(tmp_path, data):
    bench = Bench(tmp_path, "json")
    good = '{\n    "steps": 7,\n    "a": 1e3\n}'
    bench.remember(good)
    assert bench.mend(data) == good
    assert bench.reason == "from the last good copy"


@pytest.mark.parametrize("file_format", ["json", "toml", "ini"])
def test_a_missing_file_is_written_with_the_safe_defaults(tmp_path, file_format):
    keys = [RUN_STEPS, ConfigKey("run.name", "string", has_default=True, default="wan 🎬"),
            ConfigKey("run.fast", "boolean", has_default=True, default=True)]  # fmt: skip
    bench = Bench(tmp_path, file_format, *keys)
    bench.mend(None)
    assert bench.values()["run"]["name"] == "wan 🎬"
    assert bench.reason.startswith("with safe defaults")


@pytest.mark.parametrize(
    "text", ["[" * 200_000, '{"a": ' * 100_000, '{"steps": 5, "a": ' + "[" * 5000]
)
def test_deep_nesting_is_unreadable_and_no_crash(tmp_path, text):
    bench = Bench(tmp_path, "json")
    bench.mend(text)
    assert bench.values()["steps"] in {5, 20}


HOSTILE = ('{"a":1,', '{"a":}\n', "[", '"', '\\"', "/*", "//", '"a":', '{\n "a": [\n ', "\udcff")


@pytest.mark.once
@pytest.mark.parametrize("piece", HOSTILE)
def test_a_hostile_file_of_the_full_size_is_read_in_time_that_grows_with_it(tmp_path, piece):
    """Quadratic reading of a mebibyte would not end within any limit."""
    text = piece * ((1 << 20) // len(piece.encode("utf-8", "surrogateescape")))
    bench = Bench(tmp_path, "json")
    bench.plan(text.encode("utf-8", "surrogateescape"))
