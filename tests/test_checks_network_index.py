"""The package index that the target's pip uses."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import network_checks_support
import pytest
from network_checks_support import Run, skipped
from network_support import Reply, refusing_port, serving

from modelmedic.errors import Unhealthy
from modelmedic.profile.model import PythonNeeds

calm_network = network_checks_support.calm_network


INDEX = Reply(200, b"<a href='pip-1.whl'>pip</a>", {"Content-Type": "text/html"})


@pytest.fixture
def pip(monkeypatch):
    for name in [n for n in os.environ if n.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    return lambda **settings: [
        monkeypatch.setenv(f"PIP_{name.upper()}", value) for name, value in settings.items()
    ]


def index(tmp_path, target=Path(sys.executable)):
    run = Run(tmp_path, target_python=target)
    try:
        run.check("test_package_index_answers")
    except Unhealthy as error:
        return error, run.losses
    return None, [loss[0] for loss in run.losses]


def test_an_index_that_answers_holds(tmp_path, pip):
    with serving(INDEX) as server:
        pip(index_url=server.url)
        assert index(tmp_path) == (None, [])


def test_a_profile_without_python_asks_no_pip(tmp_path, pip):
    run = Run(tmp_path, python=PythonNeeds(is_required=False))
    assert "no Python packages" in skipped(run, "test_package_index_answers")


def test_an_index_that_is_down_fails_and_says_whose_pip_it_is(tmp_path, pip):
    pip(index_url=f"http://ann:secret@127.0.0.1:{refusing_port()}/simple")
    error, _ = index(tmp_path)
    assert "the target's pip" in error.what
    assert "refused" in error.what
    assert "secret" not in repr(error.__reduce__())
    error, _ = index(tmp_path, target=None)
    assert "there is no target yet" in error.what


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (Reply(401), "asks for a login"),
        (Reply(200, b"<html>Sign in"), "not as a package index"),
        (Reply(404), "HTTP 404"),
        (Reply(429, b"", {"Retry-After": "7"}), "asks to wait 7.0 s"),
        (Reply(302, b"", {"Location": "http://login.invalid"}), "http://login.invalid"),
    ],
)
def test_an_index_that_answers_otherwise_fails(tmp_path, pip, reply, words):
    with serving(reply) as server:
        pip(index_url=server.url)
        error, _ = index(tmp_path)
    assert words in error.what


def test_a_lost_extra_index_and_folder_are_losses_while_an_index_works(tmp_path, pip):
    with serving(INDEX) as server:
        pip(
            index_url=server.url,
            extra_index_url=f"http://127.0.0.1:{refusing_port()}",
            find_links=str(tmp_path / "gone"),
        )
        error, losses = index(tmp_path)
    assert error is None
    assert ["extra index" in losses[0], "does not exist" in losses[1]] == [True, True]


def test_an_extra_index_without_the_project_pip_holds(tmp_path, pip):
    def answer(seen):
        return Reply(404) if seen.target.startswith("/extra") else INDEX

    with serving(answer) as server:
        pip(index_url=server.url, extra_index_url=f"{server.url}/extra")
        assert index(tmp_path) == (None, [])


def test_with_no_index_a_working_folder_is_enough_and_a_missing_one_fails(tmp_path, pip):
    pip(no_index="1", find_links=str(tmp_path))
    assert index(tmp_path) == (None, [])
    pip(find_links=str(tmp_path / "gone"))
    error, _ = index(tmp_path)
    assert "does not exist" in error.what


def test_no_index_and_no_folder_leave_pip_nothing(tmp_path, pip):
    pip(no_index="1")
    error, _ = index(tmp_path)
    assert "no-index" in error.what


def test_a_trusted_host_is_a_loss(tmp_path, pip):
    with serving(INDEX) as server:
        pip(index_url=server.url, trusted_host="index.invalid")
        error, losses = index(tmp_path)
    assert error is None
    assert "index.invalid without verifying" in losses[0]
