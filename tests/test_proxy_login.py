"""A proxy that asks for a login: named, asked for on a terminal only, kept in memory only."""

from __future__ import annotations

import os
import pty
import shutil
import subprocess
import sys
import time

import pytest
from demo_support import START, Desk
from network_support import calm, refusing_port
from proxy_support import demo_profile, hub_behind_a_proxy, needs_tinyproxy, tinyproxy
from support import CHECKOUT, child_env

from modelmedic.testing.conformance import prepare_demo

pytestmark = [
    needs_tinyproxy,
    pytest.mark.once,
    pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal"),
]
# A leader of a session that opens a terminal takes it for its own: getpass asks there.
_TAKE_TERMINAL = "import os; os.open(os.ttyname(0), os.O_RDWR); "
LOGIN = "BasicAuth ann s3cret"
HTTP_CHECK = "network.http[demo-hub]"


@pytest.fixture
def desk(tmp_path, monkeypatch):
    calm(monkeypatch)
    monkeypatch.delenv("CI", raising=False)
    folder = tmp_path / "desk"
    folder.mkdir()
    prepare_demo(folder / "demo-install")
    shutil.rmtree(folder / "demo-install" / "model")  # else the run could go on offline
    return Desk(folder, env={"PIP_CONFIG_FILE": os.devnull, "HOME": str(tmp_path)})


def arguments(desk, *options):
    profile = demo_profile(desk.folder.parent)
    return (
        f"--install-dir={desk.install}",
        "--stage=installed",
        "-k",
        "network",
        *options,
    ), profile


def type_into(desk, typed, mode="--heal", **env):
    """Run on a terminal, type each answer when its question stands there, return all said."""
    options, profile = arguments(desk, mode)
    argv = [
        sys.executable, "-c", _TAKE_TERMINAL + START, f"--config-file={CHECKOUT / 'pyproject.toml'}",
        f"--rootdir={CHECKOUT}", str(CHECKOUT / "checks"), f"--profile={profile}",
        f"--report-dir={desk.folder.parent / 'desk-report'}", *options,
    ]  # fmt: skip
    state = str(desk.folder.parent / "state")
    environment = child_env(MODELMEDIC_STATE_DIR=state) | desk.env | env
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        argv, cwd=desk.folder, env=environment, stdin=theirs, stdout=theirs, stderr=theirs,
        start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    said, left = b"", list(typed)
    ends_at = time.monotonic() + 60
    while time.monotonic() < ends_at:
        try:
            piece = os.read(ours, 4096)
        except OSError:
            break
        if not piece:
            break
        said += piece
        if left and said.rstrip().endswith(left[0][0]):
            os.write(ours, left.pop(0)[1])
    code = process.wait(10)
    os.close(ours)
    assert not left, (left, said[-2000:])
    return code, said.decode(errors="replace")


def everything_written(desk):
    files = [path for path in desk.folder.parent.rglob("*") if path.is_file()]
    return b"".join(p.read_bytes() for p in files if p.name != "tinyproxy.conf")


def test_a_login_typed_on_a_terminal_is_used_and_written_nowhere(desk, tmp_path):
    with (
        hub_behind_a_proxy() as (_hub, upstream),
        tinyproxy(tmp_path, upstream.port, LOGIN) as (port, log),
    ):
        code, said = type_into(
            desk,
            [(b"do not log in):", b"ann\n"), (b"Password:", b"s3cret\n")],
            http_proxy=f"http://127.0.0.1:{port}",
        )
        assert code == 0, said[-3000:]
        assert upstream.asked, log.read_text()
    assert f"127.0.0.1:{port} asks for a login" in said
    assert "worked around" in said
    written = everything_written(desk)
    assert b"s3cret" not in written + said.encode()
    assert b"getpass" in written, "the lasting command asks for it"


def test_a_person_is_asked_before_a_proxy_is_set(desk):
    dead = f"http://127.0.0.1:{refusing_port()}"
    with hub_behind_a_proxy() as (_hub, proxy):
        code, said = type_into(
            desk,
            [(b"[q]uit:", b"y\n")],
            mode="--heal=ask",
            http_proxy=dead,
            HTTPS_PROXY=proxy.url,
        )
    assert code == 0, said[-3000:]
    question = said.partition("[q]uit:")[0]
    assert "for this run only" in question
    assert f"http_proxy={proxy.url}" in _flat(question)


def test_a_wrong_login_is_refused_and_the_proxy_named(desk, tmp_path):
    with (
        hub_behind_a_proxy() as (_hub, upstream),
        tinyproxy(tmp_path, upstream.port, LOGIN) as (port, _log),
    ):
        code, said = type_into(
            desk,
            [(b"do not log in):", b"ann\n"), (b"Password:", b"wrong\n")],
            http_proxy=f"http://127.0.0.1:{port}",
        )
    assert code == 1
    assert f"http://127.0.0.1:{port} (set by http_proxy): asks for a login by Basic" in _flat(said)


def test_without_a_terminal_nobody_is_asked(desk, tmp_path):
    with (
        hub_behind_a_proxy() as (_hub, upstream),
        tinyproxy(tmp_path, upstream.port, LOGIN) as (port, _log),
    ):
        desk.env |= {"http_proxy": f"http://127.0.0.1:{port}"}
        options, profile = arguments(desk, "--heal")
        run = desk.run(*options, profile=profile)
    finding = run.finding(HTTP_CHECK)
    assert finding["outcome"] == "failed"
    assert "asks for a login (Basic)" in finding["what"]
    tried = finding["attempts"][0]
    assert tried["verdict"] == "refused"
    assert "asks for a login by Basic" in tried["error"]
    assert "--heal on a terminal" in tried["error"]


def _flat(said):
    return " ".join(said.split())
