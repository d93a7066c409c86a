"""What values may look like, and on which line each key stands."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from profile_texts import FILES

from modelmedic.profile import rules
from modelmedic.profile.documents import read_document, tomllib
from modelmedic.profile.lines import find_lines, line_of

# ---------------------------------------------------------------- rules


PART = st.text(st.sampled_from("aAnuLcoN.~ :*$¹\\\x7fé/-1"), max_size=12)


@settings(max_examples=500, deadline=None)
@given(st.lists(PART, max_size=3).map("/".join))
@example("a/nul.txt")
@example("NUL ")
@example("con$")
@example("x" * 240)
@example("x" * 241)
@example("COM0/x")
@example(".Modelmedic-probe-1")
def test_the_pattern_of_paths_for_editors_says_the_same_as_the_loader(path):
    assert bool(re.fullmatch(rules.PATH.pattern, path)) == (not rules.path_complaint(path))


@settings(max_examples=25, deadline=None)
@given(st.from_regex(rules._PLAIN_REQUIREMENT, fullmatch=True))
def test_a_requirement_accepted_without_packaging_is_one(text):
    Requirement(text)


@settings(max_examples=25, deadline=None)
@given(st.from_regex(rules._PLAIN_SPECIFIERS, fullmatch=True))
def test_a_version_range_accepted_without_packaging_is_one(text):
    SpecifierSet(text)


@pytest.mark.parametrize(
    "text", ["torch", "imageio[ffmpeg]", "a[b,c]>=1", "a>=1; python_version < '3.13'", "a (>=1)"]
)
def test_ordinary_and_rarer_requirements_are_accepted(text):
    assert rules.requirement_complaint(text) == ""
    assert re.fullmatch(rules.REQUIREMENT.pattern, text)


@pytest.mark.parametrize(
    "url", ["https://hub.example", "http://127.0.0.1:8080/x", "http://[::1]:80", "embedded:demo"]
)
def test_web_addresses_are_accepted(url):
    assert rules.url_complaint(url) == ""


@pytest.mark.parametrize(
    "url", ["", "https://", "HTTPS://a", "https:/a", "file:///etc", "embedded:other", "https://a b",
            "https://a/x?y=1", "https://a\n", "https://a\\b"],
)  # fmt: skip
def test_other_addresses_are_refused(url):
    assert rules.url_complaint(url)


# ---------------------------------------------------------------- lines


@pytest.mark.parametrize("file", FILES, ids=[file.stem for file in FILES])
def test_every_key_of_a_shipped_file_has_its_line(file):
    document = read_document(file)
    text = document.text.splitlines()
    lines = find_lines(document.text)

    def walk(value, path):
        if path:
            shown = text[lines[path] - 1]
            assert isinstance(path[-1], int) or path[-1] in shown
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, inner in items:
            if isinstance(inner, dict | list):
                walk(inner, (*path, key))
            else:
                assert (*path, key) in lines

    walk(document.data, ())


LINES = '''# a comment with [brackets] and "quotes
"quoted.key" = 1
a.b.c = [ # a comment ]
  { spec = "t", trap = """
two ] lines \\""" } """ },
  [ 1, 2,
    3 ],
]
[x."y z"]
when = 1979-05-27 07:32:00
lit = 'c:\\'
multi = \'\'\'
[no.table]
\'\'\'
[[m]]
n = 1
[[m.f]]
p = 1
[[m.f]]
p = 2
[m.t]
q = 1
[[m]]
[[m.f]]
p = 3
'''


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("quoted.key",), 2),
        (("a", "b", "c", 0, "trap"), 4),
        (("a", "b", "c", 1), 6),
        (("a", "b", "c", 1, 2), 7),
        (("x", "y z"), 9),
        (("x", "y z", "when"), 10),
        (("x", "y z", "multi"), 12),
        (("m", 0, "f", 1, "p"), 20),
        (("m", 0, "t", "q"), 22),
        (("m", 1, "f", 0, "p"), 25),
        (("m", 1, "f", 0, "unknown"), 24),
        (("unknown",), 1),
    ],
)
def test_keys_are_found_on_their_lines(path, line):
    tomllib.loads(LINES)
    assert line_of(find_lines(LINES), path) == line


@settings(deadline=None)
@given(st.text(st.sampled_from("a=[]{}.,\"'#\n 1\\"), max_size=60))
def test_finding_lines_in_any_text_ends_without_an_error(text):
    assert all(1 <= line <= text.count("\n") + 1 for line in find_lines(text).values())
