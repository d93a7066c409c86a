"""A wrong profile is refused with file, line, key and what was expected."""

from __future__ import annotations

import jsonschema
import pytest
from profile_texts import HUB, MODEL, SMALL, load, refusal, write

from modelmedic.profile.documents import tomllib
from modelmedic.profile.schema import profile_schema

# text added to SMALL (2 lines), then line and words of the message; the last says whether the
# JSON Schema sees it too.
WRONG = {
    "unknown key": ('titel = "x"', 3, ["titel is unknown", 'Write "title", if'], True),
    "unknown key in a file": (
        MODEL + '[[models.files]]\npath = "a"\nsize_byte = 3',
        9,
        ["models[0].files[0].size_byte is unknown", 'Write "size_bytes", if', "git_blob"],
        True,
    ),
    "wrong type": ("title2 = 1\n[hardware]\nneeds_gpu = 1", 3, ["1 more error"], True),
    "number for a boolean": (
        "[hardware]\nneeds_gpu = 1",
        4,
        ["hardware.needs_gpu is the number 1; expected true or false"],
        True,
    ),
    "boolean for a number": (
        "[hardware]\nmin_ram_bytes = true",
        4,
        ["is true; expected a whole number"],
        True,
    ),
    "negative size": (
        "[hardware]\nmin_ram_bytes = -1",
        4,
        ["is -1; expected a number from 0"],
        True,
    ),
    "table for an array": (
        '[models]\nname = "m"',
        3,
        ["models is a table; expected an array"],
        True,
    ),
    "array of texts for tables": (
        'models = ["m"]',
        3,
        ['models[0] is "m"; expected a table'],
        True,
    ),
    "number in an array": ("folders = [1]", 3, ["folders[0] is the number 1"], True),
    "date for a text": ("as_of = 2026-11-23", 3, ["a date or time without quotes"], None),
    "bad date": ('as_of = "23.11.2026"', 3, ['"23.11.2026"', "YYYY-MM-DD"], True),
    "control character": (
        'docs_url = "x"\ndescription = "a\\u001b[31m"',
        3,
        ["1 more error"],
        True,
    ),
    "escape in a name": (
        '[[programs]]\nname = "a\\u001b[31m"',
        4,
        ["\\x1b[31m", "letters, digits"],
        True,
    ),
    "bad requirement": (
        '[python]\nrequirements = [{ spec = "torch>=2" },\n { spec = "torch>>2" }]',
        5,
        ["python.requirements[1].spec", '"torch>>2"', "PEP 508"],
        False,
    ),
    "requirement by URL": (
        '[python]\nrequirements = [{ spec = "x @ https://e.example/x.whl" }]',
        4,
        ["it names a URL"],
        True,
    ),
    "bad python range": ('[python]\nrequires = "3.10+"', 4, ['"3.10+"', "PEP 440"], False),
    "bad sha256": (
        MODEL + '[[models.files]]\npath = "a"\nsha256 = "ABC"',
        9,
        ['files[0].sha256 is "ABC"; expected 64 hexadecimal digits in lower case'],
        True,
    ),
    "bad git blob": (
        MODEL + '[[models.files]]\npath = "a"\ngit_blob = "12"',
        9,
        ["expected 40 hexadecimal digits"],
        True,
    ),
    "two files with one path": (
        MODEL + '[[models.files]]\npath = "a.bin"\n[[models.files]]\npath = "A.BIN"',
        10,
        ['models[0].files[1].path is "A.BIN", which models[0].files[0] is too'],
        False,
    ),
    "two requirements with one name": (
        '[python]\nrequirements = [{ spec = "flash_attn" },\n{ spec = "Flash-Attn>=2" }]',
        5,
        ["which python.requirements[0] is too"],
        False,
    ),
    "URL that is no web address": (HUB.replace("https", "ftp"), 5, ["http:// or https://"], True),
    "URL with a password": (
        HUB.replace("hub.example", "me:secret@hub.example"),
        5,
        ["holds a user name or password"],
        True,
    ),
    "URL with a port out of range": (
        HUB.replace("hub.example", "hub.example:99999"),
        5,
        ["its port"],
        False,
    ),
    "unknown kind": (HUB.replace('kind = "hub"', 'kind = "hubb"'), 6, ['Write "hub", if'], True),
    "unknown layout": (MODEL.replace("native", "nativ"), 6, ['Write "native", if'], True),
    "unknown endpoint": (
        HUB
        + MODEL
        + '[[models.sources]]\nkind = "hub"\nrepo = "a/b"\nrevision = "main"\nendpoint = "hup"',
        15,
        ['sources[0].endpoint is "hup"', 'Write "hub", if'],
        False,
    ),
    "source of another kind than its endpoint": (
        HUB + MODEL + '[[models.sources]]\nkind = "modelscope"\nrepo = "a/b"\n'
        'revision = "main"\nendpoint = "hub"',
        12,
        ['is "modelscope"; expected "hub"'],
        False,
    ),
    "bad repo": (
        HUB
        + MODEL
        + '[[models.sources]]\nkind = "hub"\nrepo = "a/../b"\nrevision = "main"\nendpoint = "hub"',
        13,
        ["expected owner/name"],
        True,
    ),
    "port zero": ("[[ports]]\nnumber = 0", 4, ["is 0; expected a number from 1 to 65535"], True),
    "port out of range": ("[[ports]]\nnumber = 65536", 4, ["is 65536"], True),
    "two entries for one port": (
        "[[ports]]\nnumber = 1\n[[ports]]\nnumber = 1",
        6,
        ["ports[0]"],
        False,
    ),
    "endpoint without url": (
        '[[endpoints]]\nname = "a"\nkind = "hub"',
        3,
        ["endpoints[0] has no url"],
        True,
    ),
    "model without name": ('[[models]]\nlayout = "native"', 3, ["models[0] has no name"], True),
    "default of another type": (
        (
            '[[configs]]\npath = "s.json"\nformat = "json"\n'
            'keys = [{ name = "n", type = "integer", default = "3" }]'
        ),
        6,
        ['default is "3"; expected a value of type integer'],
        False,
    ),
    "default out of range": (
        (
            '[[configs]]\npath = "s.json"\nformat = "json"\n'
            'keys = [{ name = "n", type = "integer", maximum = 9, default = 10 }]'
        ),
        6,
        ["default is the number 10; expected a number from -inf to 9"],
        False,
    ),
    "default that is no choice": (
        (
            '[[configs]]\npath = "s.json"\nformat = "json"\n'
            'keys = [{ name = "n", type = "string", choices = ["a"], default = "b" }]'
        ),
        6,
        ["expected one of its choices"],
        False,
    ),
    "number that is not finite": (
        (
            '[[configs]]\npath = "s.json"\nformat = "json"\n'
            'keys = [{ name = "n", type = "number", minimum = nan }]'
        ),
        6,
        ["minimum is nan; expected a finite number"],
        None,
    ),
    "embedded endpoint of another kind": (
        '[[endpoints]]\nname = "a"\nurl = "embedded:demo"\nkind = "other"',
        6,
        ['expected it, as "embedded:demo" is a Hub'],
        False,
    ),
    "nothing to remove": (
        '[remove]\nprograms = ["ffmpeg"]',
        4,
        ['"ffmpeg", which the extended'],
        False,
    ),
}
PATHS_OUT = ["/etc/passwd", "../x", "a/../../x", "C:/x", "c:x", "a\\\\b", "a//b", "", ".", "a/", "nul",
             "a/CON.txt", "LPT1", "x:stream", "a?", "a.", "a ", ".modelmedic/x", "a\\nb", "COM¹.bin",
             "a\\u202eb", "x" * 300]  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_profile_is_refused_with_file_line_key_and_what_was_expected(case, tmp_path):
    text, line, words, _ = WRONG[case]
    file = write(tmp_path, SMALL + text)
    error = refusal(file)
    assert f"Profile {file}, line {line}: " in error.what
    assert "expected" in error.what or "which" in error.what
    for word in words:
        assert word in str(error)
    assert error.next_step


@pytest.mark.parametrize("case", [c for c, (*_, seen) in WRONG.items() if seen])
def test_the_json_schema_refuses_what_the_loader_refuses(case):
    data = tomllib.loads(SMALL + WRONG[case][0])
    assert not jsonschema.Draft202012Validator(profile_schema()).is_valid(data)


@pytest.mark.parametrize("path", PATHS_OUT)
@pytest.mark.parametrize("where", ["file", "config", "install_dir", "folder"])
def test_a_path_that_leaves_the_install_is_refused(path, where, tmp_path):
    text = {
        "file": MODEL + f'[[models.files]]\npath = "{path}"\n',
        "config": f'[[configs]]\nformat = "json"\npath = "{path}"\n',
        "install_dir": f'install_dir = "{path}"\n',
        "folder": f'folders = ["{path}"]\n',
    }[where]
    assert "expected a path inside the install" in refusal(write(tmp_path, SMALL + text)).what
    data = tomllib.loads(SMALL + text)
    if "\n" not in path:
        assert not jsonschema.Draft202012Validator(profile_schema()).is_valid(data)


def test_a_models_folder_may_be_the_install_itself(tmp_path):
    text = SMALL + MODEL.replace('["m"]', '["m", "."]')
    assert load(str(write(tmp_path, text))).models[0].folders == ("m", ".")
    error = refusal(write(tmp_path, SMALL + MODEL.replace('["m"]', '["m", ".."]')))
    assert 'models[0].folders[1] is ".."' in error.what


def test_of_several_errors_the_first_in_the_file_is_shown_and_the_others_counted(tmp_path):
    text = SMALL + '[hardware]\nmin_ram_bytes = -1\nneeds_gpu = "yes"\n[[ports]]\nnumber = 0\n'
    error = refusal(write(tmp_path, text))
    assert "line 4: hardware.min_ram_bytes is -1" in error.what
    assert error.why == "2 more errors in this profile."


def test_a_profile_without_title_is_refused(tmp_path):
    assert "the profile has no title" in refusal(write(tmp_path, "")).what
