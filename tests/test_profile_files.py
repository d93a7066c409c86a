"""Profile files: those that are none, and those that extend others."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

import pytest
from profile_texts import HUB, MODEL, SHIPPED, SMALL, load, refusal, write

from modelmedic.errors import BadProfile
from modelmedic.profile.documents import MAX_BYTES, read_document
from modelmedic.profile.loader import load_profile

# ---------------------------------------------------------------- files that are no profile


def test_an_unknown_profile_lists_the_known_ones_and_the_nearest(tmp_path):
    error = refusal("wan2.2-ti2v-5", tmp_path)
    assert error.what == 'There is no profile "wan2.2-ti2v-5".'
    assert all(name in error.why for name in SHIPPED)
    assert error.next_step == "--profile=wan2.2-ti2v-5b"


@pytest.mark.parametrize("name", ["", ".", "..", "x\0y", "pro\x1b[31mfile", "*", "demo\n"])
def test_a_hostile_profile_name_is_only_unknown(name, tmp_path):
    error = refusal(name, tmp_path)
    assert "There is no profile" in error.what
    assert error.what.isprintable()


def test_a_profile_beside_the_user_is_pointed_at(tmp_path):
    write(tmp_path, SMALL, "mine.toml")
    assert refusal("mine", tmp_path).next_step.endswith(f"--profile=.{os.sep}mine.toml")


def test_a_relative_path_starts_from_the_given_folder(tmp_path):
    write(tmp_path, SMALL)
    assert load_profile("p.toml", cwd=tmp_path).title == "Small"
    assert load_profile(f".{os.sep}p.toml", cwd=tmp_path).file.parent == tmp_path


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda file: None, "does not exist"),
        (lambda file: file.mkdir(), "is a folder; expected a TOML file"),
        (os.mkfifo, "is not a regular file"),
        (lambda file: file.symlink_to(file), "cannot be read: Too many levels of symbolic links"),
        (lambda file: file.write_bytes(b"#" * (MAX_BYTES + 1)), "expected at most 1.0 MiB"),
        (lambda file: file.write_bytes(b"a = 1\nb = '\xff'\n"), "line 2: byte 0xff is not UTF-8"),
        (lambda file: file.write_text("a = 1\nb = = 2\n"), "line 2: this is not TOML"),
        (lambda file: file.write_text("a = 1\na = 2\n"), "this is not TOML"),
        (lambda file: file.write_text("a = [\n1,\n"), "line 3: this is not TOML"),
        (lambda file: file.write_text("a = " + "[" * 20_000), "nested too deeply"),
        (lambda file: file.write_text("a = " + "[" * 20_000 + "]" * 20_000), "nested too deeply"),
        (lambda file: file.write_text("a = " + "9" * 9_000), "this is not TOML"),
    ],
    ids=["missing", "folder", "fifo", "link loop", "too long", "not UTF-8", "syntax", "twice", "open",
         "deep and open", "deep", "endless number"],
)  # fmt: skip
def test_a_file_that_is_no_profile_is_refused(make, words, tmp_path):
    make(tmp_path / "p.toml")
    error = refusal(tmp_path / "p.toml")
    assert str(tmp_path / "p.toml") in error.what
    assert words in f"{error.what} {error.why}"


def test_a_path_with_a_nul_is_refused(tmp_path):
    assert "cannot be read" in refusal("a\0b.toml", tmp_path).what


@contextlib.contextmanager
def as_nobody():
    """Give up root's power to read everything for a moment."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no file modes")
def test_a_file_that_may_not_be_read_is_refused(tmp_path, monkeypatch):
    write(tmp_path, SMALL).chmod(0)
    tmp_path.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    with as_nobody(), pytest.raises(BadProfile, match=r"p\.toml cannot be read: Permission denied"):
        read_document(Path("p.toml"))


def test_a_byte_order_mark_is_accepted(tmp_path):
    assert load(str(write(tmp_path, b"\xef\xbb\xbf" + SMALL.encode()))).name == "small"


def test_a_file_name_that_is_no_profile_name_needs_a_name_inside(tmp_path):
    error = refusal(write(tmp_path, 'title = "T"\n', "my profile.toml"))
    assert "has no name" in error.what
    assert load(str(write(tmp_path, SMALL, "my profile.toml"))).name == "small"


def test_the_name_is_by_default_the_files(tmp_path):
    assert load(str(write(tmp_path, 'title = "T"\n', "mine.toml"))).name == "mine"


# ---------------------------------------------------------------- extending


PARENT = (
    SMALL
    + 'folders = ["a", "b"]\n[hardware]\nneeds_gpu = true\nmin_ram_bytes = 5\n'
    + '[python]\nrequirements = [{ spec = "torch>=2", trap = "T" }, { spec = "numpy<2" }]\n'
    + HUB
    + MODEL
    + '[[models.sources]]\nkind = "hub"\nrepo = "a/b"\nrevision = "main"\nendpoint = "hub"\n'
    + '[[models.files]]\npath = "x.bin"\nsize_bytes = 1\nrole = "r"\n'
    + '[[models.files]]\npath = "y.bin"\n[[ports]]\nnumber = 80\n[[programs]]\nname = "ffmpeg"\n'
)


def child_of(tmp_path: Path, text: str, parent: str = PARENT) -> Path:
    write(tmp_path, parent, "parent.toml")
    return write(tmp_path, 'extends = "./parent.toml"\n' + text, "child.toml")


def test_a_child_inherits_what_it_does_not_say(tmp_path):
    child = load(str(child_of(tmp_path, "")))
    parent = load(str(tmp_path / "parent.toml"))
    assert child.name == "child"
    assert child.title == "Small"
    assert (child.models, child.python, child.endpoints) == (
        parent.models,
        parent.python,
        parent.endpoints,
    )


def test_a_childs_keys_win_and_tables_merge(tmp_path):
    text = 'title = "Child"\nfolders = ["c"]\n[hardware]\nmin_ram_bytes = 9\n'
    child = load(str(child_of(tmp_path, text)))
    assert child.title == "Child"
    assert child.folders == ("c",)  # arrays of texts are replaced
    assert child.hardware.needs_gpu
    assert child.hardware.min_ram_bytes == 9


def test_entries_with_one_identity_merge_and_others_are_added(tmp_path):
    text = (
        '[python]\nrequirements = [{ spec = "Torch>=3" }, { spec = "tqdm" }]\n'
        '[[models]]\nname = "m"\ntask = "t"\n[[models.files]]\npath = "X.bin"\nsize_bytes = 2\n'
        '[[models.files]]\npath = "z.bin"\n[[ports]]\nnumber = 81\n'
    )
    child = load(str(child_of(tmp_path, text)))
    assert [(r.spec, r.trap) for r in child.python.requirements] == [
        ("Torch>=3", "T"),
        ("numpy<2", ""),
        ("tqdm", ""),
    ]
    (model,) = child.models
    assert (model.task, model.layout, model.sources[0].repo) == ("t", "native", "a/b")
    assert [(f.path, f.size_bytes, f.role) for f in model.files] == [
        ("X.bin", 2, "r"),
        ("y.bin", None, ""),
        ("z.bin", None, ""),
    ]
    assert [port.number for port in child.ports] == [80, 81]


def test_a_childs_sources_replace_its_parents(tmp_path):
    text = (
        '[[models]]\nname = "m"\n[[models.sources]]\nkind = "hub"\nrepo = "c/d"\n'
        'revision = "v1"\nendpoint = "hub"\n'
    )
    (model,) = load(str(child_of(tmp_path, text))).models
    assert [source.repo for source in model.sources] == ["c/d"]


def test_a_child_can_remove_entries(tmp_path):
    text = '[remove]\nrequirements = ["Torch"]\nports = ["80"]\nprograms = ["ffmpeg"]\n'
    child = load(str(child_of(tmp_path, text)))
    assert [each.spec for each in child.python.requirements] == ["numpy<2"]
    assert child.ports == child.programs == ()


def test_a_removed_entry_can_be_added_anew(tmp_path):
    text = '[remove]\nrequirements = ["torch"]\n[python]\nrequirements = [{ spec = "torch" }]\n'
    requirements = load(str(child_of(tmp_path, text))).python.requirements
    assert [(each.spec, each.trap) for each in requirements] == [("numpy<2", ""), ("torch", "")]


def test_removing_what_is_not_there_names_the_nearest(tmp_path):
    error = refusal(child_of(tmp_path, '[remove]\nprograms = ["ffmpg"]\n'))
    assert "child.toml, line 3: remove.programs[0]" in error.what
    assert 'Write "ffmpeg", if' in error.next_step


def test_a_shipped_profile_can_be_extended_by_name(tmp_path):
    text = 'extends = "wan2.2-ti2v-5b"\n[hardware]\nmin_vram_bytes = 1\n'
    profile = load(str(write(tmp_path, text, "mine.toml")))
    assert profile.name == "mine"
    assert profile.hardware.min_vram_bytes == 1
    assert profile.models == load("wan2.2-ti2v-5b").models


def test_an_error_in_a_parent_names_the_parents_file_and_line(tmp_path):
    error = refusal(child_of(tmp_path, "", SMALL + "[[ports]]\nnumber = 0\n"))
    assert "parent.toml, line 4: ports[0].number is 0" in error.what


def test_what_the_whole_lacks_is_placed_in_the_file_that_holds_it(tmp_path):
    parent = SMALL + '[[endpoints]]\nname = "a"\nurl = "https://a.example"\nkind = "hub"\n'
    text = '[[endpoints]]\nname = "c"\nurl = "https://c.example"\nkind = "hub"\n'
    text += '[[endpoints]]\nname = "b"\nkind = "hub"\n'
    error = refusal(child_of(tmp_path, text, parent))
    assert "child.toml, line 6: endpoints[1] has no url" in error.what  # the whole's third
    parent = SMALL + '[[endpoints]]\nname = "a"\nkind = "hub"\n'
    assert (
        "parent.toml, line 3: endpoints[0] has no url"
        in refusal(child_of(tmp_path, "", parent)).what
    )


def test_a_source_whose_endpoint_the_child_removed_is_refused_in_the_parent(tmp_path):
    error = refusal(child_of(tmp_path, '[remove]\nendpoints = ["hub"]\n'))
    assert 'models[0].sources[0].endpoint is "hub"' in error.what
    assert re.search(r"parent\.toml, line \d+: ", error.what)


def test_profiles_that_extend_each_other_are_refused(tmp_path):
    write(tmp_path, 'extends = "./b.toml"\n', "a.toml")
    write(tmp_path, SMALL + 'extends = "./a.toml"\n', "b.toml")
    error = refusal(tmp_path / "a.toml")
    assert "b.toml, line 3: " in error.what
    assert "a.toml -> b.toml -> a.toml" in error.what


def test_a_profile_that_extends_itself_through_a_link_is_refused(tmp_path):
    write(tmp_path, 'extends = "./b.toml"\n', "a.toml")
    (tmp_path / "b.toml").symlink_to("a.toml")
    assert "never ends" in refusal(tmp_path / "a.toml").what


def test_an_endless_row_of_parents_is_refused(tmp_path):
    for n in range(30):
        write(tmp_path, f'extends = "./p{n + 1}.toml"\n', f"p{n}.toml")
    assert "never ends" in refusal(tmp_path / "p0.toml").what


def test_a_parent_that_is_not_there_is_told_with_the_line_of_extends(tmp_path):
    error = refusal(write(tmp_path, SMALL + 'extends = "wan2.2-bas"\n'))
    assert f"{tmp_path / 'p.toml'}, line 3: extends cannot be followed" in error.what
    error = refusal(write(tmp_path, SMALL + 'extends = "./gone.toml"\n'))
    assert "gone.toml does not exist" in error.what


def test_extends_of_another_type_is_refused(tmp_path):
    assert "extends is the number 1" in refusal(write(tmp_path, SMALL + "extends = 1\n")).what


def test_a_profile_that_is_only_a_base_is_refused(tmp_path):
    error = refusal("wan2.2-base")
    assert "only there to be extended" in error.what
    assert "wan2.2-ti2v-5b" in error.next_step
