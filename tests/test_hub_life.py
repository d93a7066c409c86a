"""The loopback Hub starts, stops and comes back; its command serves until Ctrl-C."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import sys
import threading
from urllib.parse import urlsplit

import hub_support
import pytest
import requests
from hub_support import (
    API,
    FILES,
    RESOLVE,
    WEIGHTS,
    dial,
    read_to_end,
)
from support import CHECKOUT, child_env

from modelmedic.errors import ModelmedicError
from modelmedic.testing.hub import DEMO_REPO, LoopbackHub, demo_hub, main
from modelmedic.testing.specimens import demo_files


@pytest.fixture
def hub():
    with hub_support.small_hub() as hub:
        yield hub


@pytest.fixture
def web(hub):
    with hub_support.client(hub) as web:
        yield web


def test_stopping_leaves_no_thread_and_no_open_port():
    before = set(threading.enumerate())
    with LoopbackHub() as other, requests.Session() as session:
        session.trust_env = False
        session.get(other.endpoint, timeout=10)  # keeps its connection open
        assert set(threading.enumerate()) - before
        assert other.start() is other, "a second start changes nothing"
        other.stop()
        assert set(threading.enumerate()) <= before
        for endpoint in (other.endpoint, other.cdn_endpoint):
            parts = urlsplit(endpoint)
            with (
                pytest.raises(ConnectionRefusedError),
                socket.create_connection((parts.hostname, parts.port), timeout=5),
            ):
                pass
    other.stop()


def test_a_hub_comes_back_at_the_same_address(hub, web):
    endpoint = hub.endpoint
    hub.stop()
    with pytest.raises(requests.exceptions.ConnectionError):
        web.get(API)
    hub.start()
    assert hub.endpoint == endpoint
    assert web.get(f"{RESOLVE}/weights.safetensors").content == WEIGHTS


def test_a_taken_port_is_said_and_nothing_is_left(hub):
    before = set(threading.enumerate())
    port = urlsplit(hub.endpoint).port
    with pytest.raises(ModelmedicError, match=f"cannot listen on http://127.0.0.1:{port}"):
        LoopbackHub(port=port).start()
    assert set(threading.enumerate()) <= before


def test_more_clients_than_it_can_hold_are_hung_up_on(hub):
    port = urlsplit(hub.endpoint).port
    with contextlib.ExitStack() as clients:
        for _ in range(128):
            clients.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
        with dial(f"{hub.endpoint}{API}") as late:
            got, _ = read_to_end(late)
            assert got == b""


@pytest.mark.parametrize("repo_id", ["", "a/b/c", "a b", "a/", "x\n"])
def test_a_repo_id_that_cannot_be_one_is_refused(repo_id):
    with pytest.raises(ModelmedicError, match="is no repo id"):
        LoopbackHub().add_repo(repo_id, FILES)


def test_errors_name_what_is_missing(tmp_path):
    hub = LoopbackHub()
    with pytest.raises(ModelmedicError, match="no repo"):
        _ = hub.commit
    with pytest.raises(ModelmedicError, match="no repo 'x', only"):
        hub.repo("x")
    with pytest.raises(ModelmedicError, match=r"gone\.bin cannot be served"):
        hub.add_repo("x", {"gone.bin": tmp_path / "gone.bin"})


def test_the_demo_hub_serves_the_demo_model():
    with demo_hub() as hub, requests.Session() as session:
        session.trust_env = False
        for path, content in demo_files().items():
            url = f"{hub.endpoint}/{DEMO_REPO}/resolve/main/{path}"
            assert session.get(url, timeout=10).content == content


# --- the command


@contextlib.contextmanager
def command(*arguments):
    process = subprocess.Popen(
        [sys.executable, "-m", "modelmedic.testing.hub", *arguments],
        env=child_env(PYTHONPATH=str(CHECKOUT / "src")),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C is not a signal there")
def test_the_command_serves_a_folder_until_ctrl_c(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.txt").write_bytes(b"hello")
    (tmp_path / ".hidden").write_bytes(b"no")
    with command("--folder", str(tmp_path), "--repo", "me/mine") as process:
        endpoint = process.stdout.readline().strip()
        with requests.Session() as session:
            session.trust_env = False
            url = f"{endpoint}/me/mine/resolve/main/"
            assert session.get(f"{url}sub/a.txt", timeout=10).content == b"hello"
            assert session.get(f"{url}.hidden", timeout=10).status_code == 404
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=20) == ("", "")
        assert process.returncode == 0


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C is not a signal there")
def test_the_command_serves_the_demo_model_by_default():
    with command() as process, requests.Session() as session:
        session.trust_env = False
        endpoint = process.stdout.readline().strip()
        assert session.get(f"{endpoint}/api/models/{DEMO_REPO}", timeout=10).status_code == 200
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 0


def test_the_command_says_what_it_cannot_serve(tmp_path, capsys, hub):
    assert main(["--folder", str(tmp_path / "none")]) == 4
    assert f"{tmp_path / 'none'} is not a folder." in capsys.readouterr().err
    assert main(["--port", str(urlsplit(hub.endpoint).port)]) == 4
    assert "Next: choose another port" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
