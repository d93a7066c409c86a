"""Config repair: what cannot be read is never written as if it could, all else stays."""

from __future__ import annotations

import json
import os

import pytest
from config_repair_support import RUN_STEPS, STEPS, Bench

from modelmedic.errors import RecoveryRefused
from modelmedic.facts.configs import parse_config, problems_with
from modelmedic.operations.kinds import from_json
from modelmedic.profile.model import ConfigFile, ConfigKey
from modelmedic.strategies import json_settings

TITLE = ConfigKey("title", "string", has_default=True, default="untitled")


def test_a_file_that_is_right_is_left_alone(tmp_path):
    assert Bench(tmp_path, "json").plan('{"steps":5}') is None


# -- encodings -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file_format", "text"),
    [
        ("json", '{"title": "größe", "steps": 5}'),
        ("toml", 'title = "größe"\nsteps = 5\n'),
    ],
)
def test_a_value_in_latin_1_is_replaced_by_its_default_and_named(tmp_path, file_format, text):
    bench = Bench(tmp_path, file_format, STEPS, TITLE)
    assert "\ufffd" not in bench.mend(text.encode("latin-1"))
    assert bench.values() == {"title": "untitled", "steps": 5}
    assert "not readable: title" in bench.reason


def test_a_value_in_latin_1_comes_from_the_good_copy(tmp_path):
    bench = Bench(tmp_path, "ini", ConfigKey("a.steps", "integer"))
    bench.remember("[a]\nsteps = 7\ntitle = größe\n")
    bench.mend("[a]\nsteps = 8\ntitle = größe\n".encode("latin-1"))
    assert bench.values() == {"a": {"steps": "8", "title": "größe"}}
    assert "from the last good copy: a.title" in bench.reason


@pytest.mark.parametrize(
    ("file_format", "text"),
    [
        ("json", '{"note": "größe", "steps": 5}'),
        ("json", '{"größe": 1, "steps": 5}'),
        ("json", '{"notes": ["a", {"b": "größe"}], "steps": 5}'),
        ("toml", 'note = "größe"\nsteps = 5\n'),
        ("toml", 'steps = 5\n["größe"]\na = 1\n'),
        ("ini", "[a]\nsteps = 5\nnote = größe\n"),
        ("ini", "[a]\nsteps = 5\nnote = x\n  größe\n"),
        ("ini", "[a]\nsteps = 5\ngröße = 1\n"),
        ("ini", "[a]\nsteps = 5\n[größe]\nb = 1\n"),
    ],
)
def test_an_unknown_value_in_latin_1_that_nobody_can_restore_is_not_lost(
    tmp_path, file_format, text
):
    key = ConfigKey("a.steps", "integer") if file_format == "ini" else STEPS
    bench = Bench(tmp_path, file_format, key)
    with pytest.raises(RecoveryRefused, match="save it as UTF-8") as refused:
        bench.plan(text.encode("latin-1"))
    assert "not written in UTF-8" in str(refused.value)


def test_damage_beside_latin_1_is_mended_and_the_lost_key_named(tmp_path):
    bench = Bench(tmp_path, "json")
    bench.mend('{"note": "größe", "steps": 5, "fast": true, "cut'.encode("latin-1"))
    assert bench.values() == {"steps": 5, "fast": True}
    assert "note" in bench.reason


@pytest.mark.parametrize(
    ("file_format", "text"),
    [
        ("toml", "# größe\nsteps = 5 # größe\n"),
        ("ini", "; größe\n[a]\nsteps = 5\n# größe\n"),
        ("json", '{"steps": 5 // größe\n}'),
    ],
)
def test_a_comment_in_latin_1_costs_no_value(tmp_path, file_format, text):
    key = ConfigKey("a.steps", "integer") if file_format == "ini" else STEPS
    bench = Bench(tmp_path, file_format, key)
    mended = bench.mend(text.encode("latin-1"))
    assert "corrected: " in bench.reason
    if file_format != "json":
        assert mended == text.replace("ö", "?").replace("ß", "?")


def test_a_question_mark_that_somebody_wrote_stays(tmp_path):
    bench = Bench(tmp_path, "json")
    bench.mend('{"note": "a\ufffdb", "steps": 0}')
    assert bench.values() == {"note": "a\ufffdb", "steps": 20}


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be-mark", "utf-32"])
@pytest.mark.parametrize(
    ("file_format", "text"),
    [
        ("json", '{\r\n  "note": "größe 🎬",\r\n  "steps": 5\r\n}\r\n'),
        ("toml", '# größe\r\nnote = "🎬"\r\nsteps = 5\r\n'),
        ("ini", "[a]\r\nnote = größe 🎬\r\nsteps = 5\r\n"),
    ],
)
def test_a_file_that_notepad_saved_as_unicode_is_read(tmp_path, file_format, text, encoding):
    key = ConfigKey("a.steps", "integer") if file_format == "ini" else STEPS
    bench = Bench(tmp_path, file_format, key)
    data = (
        text.encode(encoding) if "mark" not in encoding else b"\xfe\xff" + text.encode("utf-16-be")
    )
    assert bench.mend(data) == text
    assert "becomes UTF-8" in bench.reason


def test_a_cut_utf_16_file_keeps_what_is_whole(tmp_path):
    bench = Bench(tmp_path, "json")
    bench.mend('{"note": "größe", "steps": 5, "more": "cut'.encode("utf-16")[:-1])
    assert bench.values() == {"note": "größe", "steps": 5}


def test_a_utf_8_mark_stays_where_the_rest_stays(tmp_path):
    bench = Bench(tmp_path, "json")
    bench.mend(b'\xef\xbb\xbf{"a": 1, "steps": 0}\r\n')
    assert bench.path.read_bytes() == b'\xef\xbb\xbf{"a": 1, "steps": 20}\r\n'
    bench.mend(b'\xef\xbb\xbf{"a": 1, "steps": 0, ')
    assert json.loads(bench.path.read_bytes()) == {"a": 1, "steps": 20}


# -- one key changes, the rest stays ---------------------------------------------------------------

EDITS = {
    "json-value": ('{\n\t"a" : 1e5,\n\t"steps":  "x",\n\t"b": [1,2]\n}', '"x"', "20"),
    "json-compact": ('{"a":1,"steps":null}', "null", "20"),
    "json-windows": ('{\r\n    "steps": 0,\r\n    "a": "\\ud800"\r\n}\r\n', "0,", "20,"),
    "json-twice": ('{"steps": 5, "steps": 0}', "0}", "20}"),
    "json-new": ('{\n    "a": 1\n}\n', "1\n", '1,\n    "steps": 20\n'),
    "json-new-compact": ('{"a": 1}', "1}", '1, "steps": 20}'),
    "json-empty": ("{}\n", "{}", '{\n  "steps": 20\n}'),
    "toml-value": ("# why\na = 1979-05-27\nsteps = 0 # here\n\n[t]\nx = inf\n", "0 #", "20 #"),
    "toml-windows": ("steps = 0\r\n[t] # c\r\nx = nan\r\n", "0\r", "20\r"),
    "toml-new": ('a = "🎬"\n', "\n", "\nsteps = 20\n"),
    "toml-tables": ("[[x]]\na=1\n[[x]]\na=2\n[y.z]\nb = {c = 1, d = [1,\n 2]}\n", "[[x]]\na=1", "steps = 20\n[[x]]\na=1"),
    "toml-no-end": ("a = 1", "a = 1", "a = 1\nsteps = 20"),
    "toml-value-no-end": ("a = 1\r\nsteps=0", "0", "20"),
    "toml-inline": ("t = {steps = 1} # c\nt2.\"a.b\" = 'x'\nsteps = [\n 0, # c\n]\t# d\n", "[\n 0, # c\n]", "20"),
}  # fmt: skip


@pytest.mark.parametrize("name", EDITS)
def test_only_the_wrong_key_changes_byte_for_byte(tmp_path, name):
    text, old, new = EDITS[name]
    bench = Bench(tmp_path, name.partition("-")[0])
    bench.mend(text)
    assert bench.path.read_bytes().decode() == text.replace(old, new, 1)
    assert bench.reason == "keeping all else; safe default: steps"


INI_EDITS = {
    "value": ("; c\n[DEFAULT]\nAll = 1\n\n[Run]\nSteps=0\n# d\nPath: C:\\x ; no comment\n", "Steps=0", "Steps=20"),
    "windows": ("[Run]\r\nSteps : 0\r\nA = 1\r\n", "0\r", "20\r"),
    "new": ("[Run]\nName=x\n  more\n\n  and more\n\n# end\n[z]\n", "and more\n", "and more\nsteps=20\n"),
    "many-lines": ("[Run]\nsteps = 0\n  0\n; c\n  0\nb = 1\n", "0\n  0\n; c\n  0\n", "20\n"),
    "section": ("[other]\na = 1", "1", "1\n[Run]\nsteps = 20"),
    "no-end": ("[Run]\nsteps=0", "0", "20"),
    "default": ("[DEFAULT]\nsteps = 0\n[Run]\na = 1\n[b]\n", "a = 1\n", "a = 1\nsteps = 20\n"),
}  # fmt: skip


@pytest.mark.parametrize("name", INI_EDITS)
def test_only_the_wrong_line_of_an_ini_file_changes(tmp_path, name):
    text, old, new = INI_EDITS[name]
    key = ConfigKey("Run.Steps", "integer", minimum=1, has_default=True, default=20)
    bench = Bench(tmp_path, "ini", key)
    bench.mend(text)
    assert bench.path.read_bytes().decode() == text.replace(old, new, 1)


@pytest.mark.parametrize(
    ("file_format", "text", "rest"),
    [
        ("json", '{"maybe": 0, "steps": 5}', '{"steps": 5}'),
        ("json", '{\n  "maybe": 0\n}\n', "{}\n"),
        ("json", '{\n  "steps": 5,\n  "maybe": 0\n}', '{\n  "steps": 5\n}'),
        ("json", '{"maybe": 1, "maybe": 0, "steps": 5, "maybe": 0}', '{"steps": 5}'),
        ("toml", "steps = 5\nmaybe = 0\n# end\n", "steps = 5\n# end\n"),
        ("ini", "[a]\nmaybe = 0\n# end\n", "[a]\n# end\n"),
    ],
)
def test_an_optional_bad_key_is_left_out(tmp_path, file_format, text, rest):
    name = "a.maybe" if file_format == "ini" else "maybe"
    bench = Bench(tmp_path, file_format, ConfigKey(name, "integer", is_required=False, minimum=1))
    assert bench.mend(text) == rest
    assert f"left out: {name}" in bench.reason


def test_an_optional_key_that_is_missing_stays_missing(tmp_path):
    maybe = ConfigKey("maybe", "integer", is_required=False, has_default=True, default=3)
    bench = Bench(tmp_path, "json", STEPS, maybe)
    assert bench.mend('{"steps": 0}') == '{"steps": 20}'


@pytest.mark.parametrize(
    ("file_format", "text", "values"),
    [
        ("json", '{"run": 5, "a": 1}', {"run": {"steps": 20}, "a": 1}),
        ("toml", "run = []\na = 1\n", {"run": {"steps": 20}, "a": 1}),
    ],
)
def test_what_is_no_table_makes_way_for_a_required_key_and_that_is_said(
    tmp_path, file_format, text, values
):
    bench = Bench(tmp_path, file_format, RUN_STEPS)
    bench.mend(text)
    assert bench.values() == values
    assert "no table, so replaced: run" in bench.reason


@pytest.mark.parametrize(
    ("file_format", "text"),
    [("json", '{"run": [{"x": 1}]}'), ("toml", "[[run]]\nx = 1\n[[run]]\n")],
)
def test_an_array_with_values_makes_way_for_nothing(tmp_path, file_format, text):
    with pytest.raises(RecoveryRefused, match="would be lost"):
        Bench(tmp_path, file_format, RUN_STEPS).plan(text)


TABLES = {
    "dotted": ("run.steps = 0 # c\nrun.x = 1\n", "= 0", "= 20"),
    "dotted-new": ("run.x = 1 # c\n[z]\na=1\n", "# c\n", "# c\nrun.steps = 20\n"),
    "inline": ("run = { x = 1, steps = 0 } # c\n", "= 0", "= 20"),
    "inline-new": ("run = {} # c\n", "{}", "{steps = 20}"),
    "quoted": ("[\"run\"]\n'steps'\t=\t0\t# tab\n", "0", "20"),
    "quoted-dots": ('"run.steps" = 5\n', "5\n", "5\n\n[run]\nsteps = 20\n"),
    "parted": ("[run]\nsteps = 0\n[z]\n[run.b]\ny=1\n", "0", "20"),
    "implied": ("[run.sub]\nx = 1\n", "[run.sub]", "[run]\nsteps = 20\n\n[run.sub]"),
}


@pytest.mark.parametrize("name", TABLES)
def test_a_toml_key_is_written_into_its_table_however_that_is_spelt(tmp_path, name):
    text, old, new = TABLES[name]
    mended = Bench(tmp_path, "toml", RUN_STEPS).mend(text)
    # Blank lines about a new table are up to the release of tomlkit.
    assert mended.replace("\n\n", "\n") == text.replace(old, new, 1).replace("\n\n", "\n")


def test_nothing_makes_way_for_an_optional_key(tmp_path):
    key = ConfigKey("run.steps", "integer", is_required=False, has_default=True, default=1)
    bench = Bench(tmp_path, "json", STEPS, key)
    bench.mend('{"run": 5, "steps": 0}')
    assert bench.values() == {"run": 5, "steps": 20}


def test_a_key_that_somebody_removed_on_purpose_is_not_brought_back(tmp_path):
    bench = Bench(tmp_path, "json")
    bench.remember('{"steps": 7, "old": 1}')
    bench.mend('{"steps": 0}')
    assert bench.values() == {"steps": 7}


# -- refusals --------------------------------------------------------------------------------------


@pytest.mark.parametrize("file_format", ["json", "toml", "ini"])
def test_an_unreadable_file_without_copy_or_defaults_is_not_emptied(tmp_path, file_format):
    maybe = ConfigKey("a.b", "integer", is_required=False)
    with pytest.raises(RecoveryRefused, match="nothing in it can be read"):
        Bench(tmp_path, file_format, maybe).plan(b"\0\0\0\0")


def test_a_required_key_without_a_good_value_is_refused(tmp_path):
    with pytest.raises(RecoveryRefused, match="has no good value anywhere"):
        Bench(tmp_path, "json", ConfigKey("a", "integer")).plan('{"a": "x"}')


@pytest.mark.parametrize("name", ["steps", "a.b.steps", "DEFAULT.steps"])
def test_an_ini_key_that_no_line_can_hold_is_refused(tmp_path, name):
    key = ConfigKey(name, "integer", has_default=True, default=1)
    with pytest.raises(RecoveryRefused):
        Bench(tmp_path, "ini", key).plan("[a]\nb = 1\n")


def test_an_ini_key_of_a_list_is_refused(tmp_path):
    key = ConfigKey("a.b", "array", has_default=True, default=[1])
    with pytest.raises(RecoveryRefused, match="list"):
        Bench(tmp_path, "ini", key).plan("[a]\nb = 1\n")


@pytest.mark.parametrize("wrong", ["1.0", "true", '"1"', "2", "1, 1", "[1]", ""])
def test_a_text_that_says_anything_else_than_planned_is_refused(tmp_path, monkeypatch, wrong):
    """Whatever the editor does: its text is read again, and each value compared with its type."""
    other = f'"other": {wrong}, ' if wrong else ""
    monkeypatch.setattr(json_settings, "write", lambda *_: f'{{{other}"steps": 20}}')
    bench = Bench(tmp_path, "json")
    with pytest.raises(RecoveryRefused, match="without changing others"):
        bench.plan('{"other": 1, "steps": 0}')
    assert bench.path.read_bytes() == b'{"other": 1, "steps": 0}'


def test_a_removal_that_would_take_the_table_too_is_refused(tmp_path):
    maybe = ConfigKey("run.maybe", "integer", is_required=False, minimum=1)
    with pytest.raises(RecoveryRefused, match="without changing others"):
        Bench(tmp_path, "toml", maybe).plan("run.maybe = 0\n")


def test_a_correction_that_would_change_another_key_is_refused(tmp_path):
    """The bad value stands in [DEFAULT]: without it, the other section would lose it too."""
    key = ConfigKey("a.maybe", "integer", is_required=False)
    with pytest.raises(RecoveryRefused, match="without changing others"):
        Bench(tmp_path, "ini", key).plan("[DEFAULT]\nmaybe = x\n[a]\nb = 1\n[c]\n")


def test_a_deep_file_that_parses_is_not_edited(tmp_path):
    deep = f'{{"steps": 0, "a": {"[" * 150}{"]" * 150}}}'
    with pytest.raises(RecoveryRefused, match="nested deeper"):
        Bench(tmp_path, "json").plan(deep)


def test_a_huge_file_is_refused(tmp_path):
    with pytest.raises(RecoveryRefused, match="larger than any settings file"):
        Bench(tmp_path, "json").plan(b" " * (1 << 20) + b"{")


@pytest.mark.skipif(os.name == "nt", reason="pipes and links of POSIX")
@pytest.mark.parametrize("make", ["mkfifo", "mkdir", "symlink"])
def test_what_is_no_plain_file_is_left_alone(tmp_path, make):
    bench = Bench(tmp_path, "json")
    {
        "mkfifo": lambda: os.mkfifo(bench.path),
        "mkdir": bench.path.mkdir,
        "symlink": lambda: bench.path.symlink_to("x"),
    }[make]()
    with pytest.raises(RecoveryRefused, match="no plain file"):
        bench.plan(None)


# -- what is said ----------------------------------------------------------------------------------


def test_a_lone_surrogate_reaches_plan_and_journal(tmp_path):
    bench = Bench(tmp_path, "json")
    bench.mend('{"a": "\\ud800", "steps": 5, "cut')
    assert bench.values() == {"a": "\ud800", "steps": 5}
    operation = bench.plan('{"a": "\\udfff", "steps": 5, "cut')
    assert from_json(json.loads(json.dumps(operation.to_json()))) == operation


@pytest.mark.parametrize("file_format", ["json", "toml", "ini"])
def test_no_value_is_named_in_what_reports_show(tmp_path, file_format):
    key = ConfigKey("a.steps", "integer", has_default=True, default=20)
    texts = {
        "json": '{"a": {"steps": "S3CRET"}, "token": "S3CRET", "b": ["S3CRET", "cut',
        "toml": 'token = "S3CRET"\nb = "S3CRET\n[a]\nsteps = "S3CRET"\n',
        "ini": "token = S3CRET\n[a]\nsteps = S3CRET\nS3CRET\n",
    }
    bench = Bench(tmp_path, file_format, key)
    assert "S3CRET" not in bench.plan(texts[file_format]).describe()


@pytest.mark.parametrize("text", ["token S3CRET\n", "[a]\nb = 1\nS3CRET\n"])
def test_the_words_about_an_ini_file_show_none_of_its_lines(text):
    with pytest.raises(ValueError, match="line") as refused:
        parse_config(text.encode(), "ini")
    assert "S3CRET" not in str(refused.value)


def test_the_words_about_a_wrong_key_show_no_secret():
    keys = (
        ConfigKey("api_token", "integer"),
        ConfigKey("table", "string"),
        ConfigKey("list", "string"),
    )
    values = {"api_token": "S3CRET", "table": {"x": "S3CRET"}, "list": ["S3CRET"]}
    found = problems_with(ConfigFile("c.json", "json", keys=keys), values)
    assert len(found) == 3
    assert "S3CRET" not in " ".join(found)


def test_a_long_list_of_names_is_cut(tmp_path):
    keys = [ConfigKey(f"k{n}", "integer", has_default=True, default=n) for n in range(9)]
    bench = Bench(tmp_path, "json", *keys)
    bench.mend("{}")
    assert bench.reason == "keeping all else; safe default: k0, k1, k2, k3, k4 and 4 more"


def test_a_run_of_blanks_does_not_hold_the_reader_of_ini_files():
    with pytest.raises(ValueError, match="blanks in a row"):
        parse_config(b"[a]\nx" + b" " * 900_000 + b"y = 1\n", "ini")
