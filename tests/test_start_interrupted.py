"""What an interrupted or killed start leaves behind, and what the next one makes of it."""

from __future__ import annotations

import contextlib
import signal
import socket
import threading

import pytest
from project_copy import bare_project, dead_index, index_at, left_in, record_of, starting
from support import child_env

from modelmedic.bootstrap.environment import LOCK_NAME, RECORD_NAME


@pytest.fixture
def project(tmp_path):
    return bare_project(tmp_path / "project")


class StalledIndex:
    """A package index that accepts and never answers, until it is closed."""

    def __init__(self):
        self._server = socket.create_server(("127.0.0.1", 0))
        self._clients: list[socket.socket] = []
        self.asked = threading.Event()
        self.url = f"http://127.0.0.1:{self._server.getsockname()[1]}/simple"
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self):
        with contextlib.suppress(OSError):
            while True:
                self._clients.append(self._server.accept()[0])
                self.asked.set()

    def was_left(self) -> bool:
        """Wait until the first client is gone; False after 20 s."""
        self._clients[0].settimeout(20)
        with contextlib.suppress(TimeoutError):
            while self._clients[0].recv(65536):
                pass
            return True
        return False

    def close(self):
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._thread.join()
        for client in self._clients:
            client.close()


@pytest.fixture
def stalled():
    index = StalledIndex()
    yield index
    index.close()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_start_ends_pip_and_leaves_nothing_to_trust(project, stalled, number):
    if signal.getsignal(number) == signal.SIG_IGN:
        pytest.skip("these tests run under nohup, and so does what they start")
    with starting(project, env=index_at(child_env(), stalled.url)) as child:
        assert stalled.asked.wait(60)
        child.send_signal(number)
        said = child.communicate(timeout=60)[1]
    assert child.returncode == 2
    assert "interrupted" in said
    assert "Traceback" not in said
    assert stalled.was_left()
    assert left_in(project / ".venv") == {LOCK_NAME, RECORD_NAME}
    assert record_of(project)["state"] == "building"


@pytest.mark.slow
def test_after_a_killed_start_the_next_one_waits_for_its_pip_and_makes_it_anew(project, stalled):
    with starting(project, env=index_at(child_env(), stalled.url)) as child:
        assert stalled.asked.wait(60)
        child.kill()
        child.wait()
    assert record_of(project)["state"] == "building"
    with starting(project, env=dead_index(child_env())) as second:
        assert "waiting" in second.stderr.readline()  # for the pip that outlived its parent
        stalled.close()
        said = second.communicate(timeout=120)[1]
    assert "did not finish" in said
    assert "made anew" in said
    assert second.returncode == 4
    assert "could not be reached" in said
