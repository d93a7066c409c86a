"""Opening files below a folder: links, pipes, devices, races, permissions."""

from __future__ import annotations

import os
import socket
import stat
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest

from modelmedic.errors import CannotTell
from modelmedic.facts import (
    _folders,
    safe_open,
)
from modelmedic.facts.safe_open import State

posix_only = pytest.mark.skipif(os.name == "nt", reason="links and pipes of POSIX")


@pytest.fixture
def install(tmp_path):
    place = tmp_path / "install"
    place.mkdir()
    (place / "model").mkdir()
    (place / "model" / "weights.bin").write_bytes(b"weights")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_bytes(b"secret")
    return place


@pytest.fixture(params=["held", "named"])
def both_walks(request, monkeypatch):
    """Run with folders held open, and by path as on Windows."""
    if request.param == "named":
        monkeypatch.setattr(_folders, "CAN_HOLD", False)
    elif not _folders.CAN_HOLD:
        pytest.skip("This platform cannot hold folders open.")


@contextmanager
def as_nobody():
    """Run the block as a user without rights, if this one has all of them."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def closed_folder():
    """Give a folder below which a user without rights can look, unlike pytest's own."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder
        for path in folder.rglob("*"):
            path.chmod(0o700)


def test_a_regular_file_is_present_with_its_identity(install, both_walks):
    state = safe_open.look(install, "model/weights.bin")
    status = (install / "model/weights.bin").stat()
    assert state.is_present
    assert not state.is_link
    assert state.identity == (
        7,
        status.st_mtime_ns,
        status.st_ctime_ns,
        status.st_ino,
        status.st_dev,
    )
    assert state.link_count == 1
    assert state.resolved == (install / "model/weights.bin").resolve()


@posix_only
@pytest.mark.parametrize(
    ("link", "target"),
    [
        ("near", "model/weights.bin"),
        ("model/up", "../model/weights.bin"),
        ("out-and-in", "../install/model/weights.bin"),
        ("absolute", "{place}/model/weights.bin"),
        ("twice", "near2"),
    ],
)
def test_a_link_that_stays_inside_is_followed(install, both_walks, link, target):
    (install / "near2").symlink_to("model/weights.bin")
    (install / link).symlink_to(target.format(place=install))
    state = safe_open.look(install, link)
    assert state.is_present
    assert state.is_link
    with safe_open.opened(install, link) as (_, file):
        assert file.read_at(0, 100) == b"weights"


@posix_only
def test_a_linked_folder_inside_is_passed_through(install, both_walks):
    (install / "alias").symlink_to("model")
    assert safe_open.look(install, "alias/weights.bin").is_present


@posix_only
@pytest.mark.parametrize(
    "target", ["../outside/secret", "{place}/../outside/secret", "/dev/zero", "model/../../outside"]
)
def test_a_link_that_leads_out_is_not_read(install, both_walks, target):
    (install / "bad").symlink_to(target.format(place=install))
    with safe_open.opened(install, "bad") as (state, file):
        assert file is None
    assert state.state is State.OUTSIDE
    assert "leads out of the install" in state.detail
    assert "not read" in state.detail


@posix_only
def test_a_folder_link_that_leads_out_is_not_passed_through(install, both_walks):
    (install / "bad").symlink_to("../outside")
    state = safe_open.look(install, "bad/secret")
    assert state.state is State.OUTSIDE
    assert str(install.parent / "outside") in state.detail


@pytest.mark.parametrize(
    "subject", ["../outside/secret", "/etc/hosts", "model/../../outside/secret", "a\0b"]
)
def test_a_name_that_leaves_the_install_is_refused(install, both_walks, subject):
    assert safe_open.look(install, subject).state is State.OUTSIDE


@posix_only
def test_links_in_a_circle_end_as_a_loop(install, both_walks):
    (install / "one").symlink_to("two")
    (install / "two").symlink_to("one")
    (install / "far").symlink_to("../install/far")
    for name in ("one", "two", "far"):
        assert safe_open.look(install, name).state is State.LOOP


@posix_only
def test_a_link_to_nothing_is_dangling_and_names_its_target(install, both_walks):
    (install / "dead").symlink_to("model/gone")
    state = safe_open.look(install, "dead")
    assert state.state is State.DANGLING
    assert "model/gone" in state.detail


def test_what_is_missing_is_missing(install, both_walks):
    assert safe_open.look(install, "nothing/here").state is State.MISSING
    assert safe_open.look(install, "x" * 300).state is State.MISSING
    assert safe_open.look(install / "gone", "a").state is State.MISSING
    in_the_way = safe_open.look(install, "model/weights.bin/deeper")
    assert in_the_way.state is State.MISSING
    assert "weights.bin" in in_the_way.detail


@posix_only
def test_pipes_sockets_devices_and_folders_are_no_files_and_never_waited_for(install, both_walks):
    os.mkfifo(install / "pipe")
    (install / "to-pipe").symlink_to("pipe")
    here = os.open(".", os.O_RDONLY)
    server = socket.socket(socket.AF_UNIX)
    try:
        os.chdir(install)  # a socket's path is limited to some 100 bytes
        server.bind("sock")
    finally:
        os.fchdir(here)
        os.close(here)
    try:
        kinds = {n: safe_open.look(install, n) for n in ("pipe", "to-pipe", "sock", "model")}
    finally:
        server.close()
    assert {state.state for state in kinds.values()} == {State.NOT_REGULAR}
    assert [state.kind for state in kinds.values()] == [
        "named pipe",
        "named pipe",
        "socket",
        "folder",
    ]
    assert "named pipe" in kinds["pipe"].detail


@posix_only
def test_a_device_is_not_opened(install, both_walks):
    try:
        os.mknod(install / "zero", stat.S_IFCHR | 0o666, os.makedev(1, 5))
    except PermissionError:
        pytest.skip("Only root makes device files.")
    state = safe_open.look(install, "zero")
    assert (state.state, state.kind) == (State.NOT_REGULAR, "device")


@posix_only
def test_a_file_without_permission_is_denied_not_missing(closed_folder):
    (closed_folder / "model").mkdir()
    (closed_folder / "model" / "file").write_bytes(b"x")
    (closed_folder / "file").write_bytes(b"x")
    (closed_folder / "file").chmod(0)
    (closed_folder / "model").chmod(0)
    with as_nobody():
        inner = safe_open.look(closed_folder, "model/file")
        plain = safe_open.look(closed_folder, "file")
    assert inner.state is plain.state is State.DENIED
    assert "may not be read by this user" in plain.detail


@posix_only
def test_a_file_swapped_for_a_link_while_it_is_opened_is_not_read(install, monkeypatch):
    if not _folders.CAN_HOLD:
        pytest.skip("Only where folders are held open.")
    real_open = _folders.HeldFolders.open

    def swap_first(self, name):
        (install / "model" / name).unlink()
        (install / "model" / name).symlink_to("/etc/hosts")
        return real_open(self, name)

    monkeypatch.setattr(_folders.HeldFolders, "open", swap_first)
    with pytest.raises(CannotTell, match="exchanged"):
        safe_open.look(install, "model/weights.bin")


@posix_only
def test_a_file_swapped_for_a_pipe_does_not_hang(install, monkeypatch):
    real_open = _folders.HeldFolders.open

    def swap_first(self, name):
        (install / "model" / name).unlink()
        os.mkfifo(install / "model" / name)
        return real_open(self, name)

    monkeypatch.setattr(_folders.HeldFolders, "open", swap_first)
    with pytest.raises(CannotTell, match="exchanged"):
        safe_open.look(install, "model/weights.bin")


@posix_only
def test_in_a_hub_cache_the_blobs_count_as_inside_and_no_more(tmp_path, both_walks):
    repo = tmp_path / "hub" / "models--org--name"
    snapshot = repo / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (repo / "blobs").mkdir()
    (repo / "blobs" / ("0" * 64)).write_bytes(b"blob")
    (tmp_path / "hub" / "other").write_bytes(b"other")
    (snapshot / "good").symlink_to("../../blobs/" + "0" * 64)
    (snapshot / "bad").symlink_to("../../../other")
    assert safe_open.look(snapshot, "good").is_present
    assert safe_open.look(snapshot, "bad").state is State.OUTSIDE


def test_looking_leaves_no_descriptor_open(install, both_walks):
    folder = Path("/proc/self/fd")
    if not folder.exists():
        pytest.skip("Descriptors are counted through /proc.")
    (install / "l").symlink_to("../install/model/weights.bin")
    before = len(list(folder.iterdir()))
    for subject in ("model/weights.bin", "l", "model", "gone", "../x"):
        safe_open.look(install, subject)
    assert len(list(folder.iterdir())) == before


def test_hostile_names_are_shown_escaped(install):
    state = safe_open.look(install, "evil\n\x1b[31m<script>")
    assert "\n" not in state.sentence()
    assert "\x1b" not in state.sentence()
