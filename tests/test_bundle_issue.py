"""The text of an issue: what a tracker shows of it, whatever the record says."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest
from bundle_support import finding, make_record, make_run
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from modelmedic import cli, rooms
from modelmedic.bundle import issue
from modelmedic.errors import BadProfile
from modelmedic.findings import Attempt
from modelmedic.profile.loader import available, load_profile

pytestmark = pytest.mark.once
PAGE = "https://github.com/Wan-Video/Wan2.2/issues/new"
HOSTILE = (
    "```\n# Heading\n@maintainer fixes #1 and other/repo#2 <img src=x onerror=alert(1)> "
    "[x](javascript:alert(1)) ![x](https://evil.example/x.png) https://evil.example\n"
    "~~~\n````text\n/close\n- [ ] task\n| a | b |\n\x1b[31m\u202e\r\n</details>"
)


def hostile(place, words=HOSTILE):
    attempt = Attempt("mend", "failed", ({"kind": "rename", "text": words},), 2.0, 0, words)
    bad = finding(
        words[:40], what=words, why=words, failure_id=words[:40], attempts=(attempt,), area="python"
    )
    record = make_record(place, bad)
    record["environment"] |= {"system": words, "release": words}
    record["environment"]["inventory"] = {
        "hash": "", "system": words, "python": words, "driver": words, "gpus": [words],
        "memory_bytes": 1, "packages": {words: words}, "files": {},
    }  # fmt: skip
    return record | {"profile": words}


def read_as_a_tracker_does(body):
    """Return the headings and the words outside of code, and see that there is nothing else."""
    tokens = MarkdownIt("gfm-like", {"linkify": False}).parse(body)
    kinds = {token.type for token in tokens}
    assert kinds <= {"heading_open", "inline", "heading_close", "fence", "paragraph_open",
                     "paragraph_close"}  # fmt: skip
    assert all(token.info == "text" for token in tokens if token.type == "fence")
    inlines = [token for token in tokens if token.type == "inline"]
    assert all(child.type == "text" for token in inlines for child in token.children)
    return [token.content for token in inlines]


def test_an_issue_says_what_is_wrong_what_was_tried_and_where(tmp_path):
    found = issue.issue(make_record(tmp_path))
    assert found.title == "modelmedic (test): f-1"
    for words in ("It broke.", "known failure: f-1", "tried: mend, failed (1.5 s): no",
                  "  - move a to b", "profile test, installed"):  # fmt: skip
        assert words in found.body
    assert read_as_a_tracker_does(found.body) == [
        issue._INTRODUCTION,
        "Verdict",
        "Cause",
        "Environment",
    ]


def test_nothing_of_the_record_is_markup_a_call_or_a_link(tmp_path):
    found = issue.issue(hostile(tmp_path))
    assert read_as_a_tracker_does(found.body) == [
        issue._INTRODUCTION,
        "Verdict",
        "Cause",
        "Environment",
    ]
    assert "\x1b" not in found.body
    assert "\u202e" not in found.body
    for letter in "@#<>`*_~![!()\n":
        assert letter not in found.title.replace("modelmedic (", "", 1).replace(
            "): ", "", 1
        ).replace("[", "")


@given(words=st.text(max_size=300), letters=st.sampled_from([60, 250, 4000]))
def test_no_words_at_all_get_out_of_their_block(tmp_path_factory, words, letters):
    record = hostile(tmp_path_factory.getbasetemp(), words or "x")
    told = read_as_a_tracker_does(issue.issue(record, most_letters=letters).body)
    assert told == [issue._INTRODUCTION, "Verdict", "Cause", "Environment"]


LONG = {
    "short": ("x", 30),
    "accents": ("\u00e9" * 5000, 30),
    "pictures": ("\U0001f600" * 20_000, 30),
    "hostile": (HOSTILE * 500, 30),
    "10 MB": ("a" * 10_000_000, 2),
}


@pytest.mark.parametrize(("words", "count"), LONG.values(), ids=LONG)
def test_a_link_has_8000_letters_at_most_and_fills_in_the_whole_form(tmp_path, words, count):
    causes = [finding(f"x.n{n}", what=words, why=words) for n in range(count)]
    address = issue.link(make_record(tmp_path, *causes), PAGE)
    assert len(address) <= 8000
    assert address.isascii()
    assert address.startswith(f"{PAGE}?title=")
    form = parse_qs(urlsplit(address).query, strict_parsing=True)
    assert set(form) == {"title", "body"}
    assert form["title"] == [f"modelmedic (test): x.n0 and {count - 1} more"]
    assert "Environment" in read_as_a_tracker_does(form["body"][0])


def test_many_causes_are_counted(tmp_path):
    causes = [finding(f"x.n{n}", what="It broke.") for n in range(12)]
    assert "And 2 more causes." in issue.issue(make_record(tmp_path, *causes)).body


def test_a_run_without_a_fault_is_told_so(tmp_path):
    found = issue.issue(make_record(tmp_path, finding(outcome="passed"), exit_code=0))
    assert found.title == "modelmedic (test): no fault found"


def test_the_shipped_profiles_of_wan_name_their_trackers(tmp_path):
    pages = {name: issue.issues_url(name) for name in available()}
    assert pages["wan2.2-ti2v-5b"] == PAGE
    assert pages["wan2.2-t2v-a14b-diffusers"].endswith("/huggingface/diffusers/issues/new")
    assert pages["demo"] == ""
    record = make_record(tmp_path) | {"profile": "wan2.2-ti2v-5b"}
    assert issue.issues_url_of(record) == PAGE


def test_no_path_of_a_record_is_followed(tmp_path):
    profile = tmp_path / "p.toml"
    profile.write_text(f'title = "x"\n[support]\nissues_url = "{PAGE}"\n', encoding="utf-8")
    assert issue.issues_url(str(profile)) == PAGE
    assert issue.issues_url_of(make_record(tmp_path) | {"profile": str(profile)}) == ""


@pytest.mark.parametrize(
    "page",
    ["http://example.com/new", "https://user:pw@example.com/", "https://example.com/?title=x",
     "https://example.com/#x", "javascript:alert(1)", "https://example.com/ x", "https://"],
)  # fmt: skip
def test_a_tracker_is_an_https_page_that_a_form_can_be_added_to(tmp_path, page):
    profile = tmp_path / "p.toml"
    profile.write_text(f'title = "x"\n[support]\nissues_url = "{page}"\n', encoding="utf-8")
    with pytest.raises(BadProfile, match="issues_url"):
        load_profile(str(profile), cwd=tmp_path)


def test_the_command_prints_it_masked_and_says_when_there_is_no_link(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MODELMEDIC_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("SOME_SERVICE_TOKEN", "correct-Horse7battery")
    make_run(tmp_path, make_record(tmp_path, finding(what="It said correct-Horse7battery.")))
    assert cli.main(["bundle", str(tmp_path / "run"), "--issue"]) == 0
    told = capsys.readouterr().out
    assert "correct-Horse7battery" not in told
    assert "It said ***." in told
    assert "No link: the profile names no tracker" in told
    arguments = ["bundle", str(tmp_path / "run"), "--issue", "--profile", "wan2.2-ti2v-5b"]
    assert cli.main(arguments) == 0
    assert f"Open this to file it:\n{PAGE}?title=modelmedic" in capsys.readouterr().out
    assert rooms.state_dir() == tmp_path / "state"
