"""The recovery configure_proxy in real runs: the Hub is reached through the proxy that works."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from demo_support import Desk, snapshot
from network_support import calm, refusing_port
from proxy_support import (
    HUB,
    NETWORK,
    demo_profile,
    hub_behind_a_proxy,
)
from support import CHECKOUT, child_env

from modelmedic.testing.conformance import prepare_demo

pytestmark = pytest.mark.once  # nothing in it depends on the version of Python
SHARD = "model/diffusion_pytorch_model-00002-of-00003.safetensors"
PROXY_CHECK, DNS_CHECK = "network.proxy", "network.dns[demo-hub]"


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """An install whose shard is lost and whose Hub only a proxy reaches."""
    calm(monkeypatch)
    folder = tmp_path / "desk"
    folder.mkdir()
    prepare_demo(folder / "demo-install")
    home = tmp_path / "home"
    home.mkdir()
    no_pip = {"PIP_CONFIG_FILE": os.devnull, "HOME": str(home), "USERPROFILE": str(home)}
    return Desk(folder, env=no_pip)


def run(desk, *options, url=HUB, **env):
    desk.env = desk.env | env
    return desk.run(
        f"--install-dir={desk.install}",
        "--stage=installed",
        *NETWORK,
        *options,
        profile=demo_profile(desk.folder.parent, url),
    )


def journals(desk):
    state = desk.folder.parent / "state"
    return "".join(path.read_text() for path in state.rglob("*.jsonl"))


def undo(desk, *more):
    code = f"import sys; sys.path.insert(0, {str(CHECKOUT / 'src')!r}); from modelmedic.cli import main"
    return subprocess.run(
        [sys.executable, "-c", f"{code}; sys.exit(main(sys.argv[1:]))", "undo", *more,
         f"--install-dir={desk.install}"],
        env=child_env(MODELMEDIC_STATE_DIR=str(desk.folder.parent / "state")),
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def made_lasting(finding, name, **env):
    """Run what is printed as the next step in a shell, and return a variable after it."""
    lines = finding["next"].partition("   makes it last")[0]
    done = subprocess.run(
        ["sh", "-c", f'{lines}; printf %s "${name}"'],
        env=env | {"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout


def test_a_dead_proxy_is_replaced_by_the_one_that_works_and_weights_come_through_it(desk):
    (desk.install / SHARD).unlink()
    dead = f"http://127.0.0.1:{refusing_port()}"
    with hub_behind_a_proxy() as (_hub, proxy):
        env = {"http_proxy": dead, "HTTPS_PROXY": proxy.url}
        healed = run(desk, "--heal", **env)
        assert healed.code == 0, healed.out
        finding = healed.finding(PROXY_CHECK)
        assert finding["outcome"] == "degraded", finding
        verdicts = {each["recovery"]: each["verdict"] for each in finding["attempts"]}
        assert verdicts == {"work_offline": "refused", "configure_proxy": "degraded"}
        assert f"export http_proxy={proxy.url}" in finding["next"]
        assert "refuses the connection" in finding["what"]
        assert healed.finding(DNS_CHECK)["outcome"] == "passed"
        assert "http_proxy" in healed.finding(DNS_CHECK)["what"]
        shard = healed.finding(f"weights.present[{SHARD}]")
        assert shard["outcome"] == "healed", shard
        fetched = [line for line in proxy.asked if f"GET {HUB}/" in line and "00002-of" in line]
        assert fetched, proxy.asked
        assert "agrees" in healed.out
        before = snapshot(desk.install)
        later = run(desk, **env)
    assert later.finding(PROXY_CHECK)["outcome"] == "failed"
    assert snapshot(desk.install) == before
    told = undo(desk)
    assert "was undone" in told.stdout, told
    assert not (desk.install / SHARD).exists()


def test_the_closing_pass_is_degraded_too(desk):
    with hub_behind_a_proxy() as (_hub, proxy):
        env = {"http_proxy": f"http://127.0.0.1:{refusing_port()}", "HTTPS_PROXY": proxy.url}
        healed = run(desk, "--heal", "-k", "network", **env)
    closing = json.loads((healed.folder / "closing" / "report.json").read_text())
    outcomes = {each["check"]: each["outcome"] for each in closing["findings"]}
    assert outcomes[PROXY_CHECK] == "degraded", outcomes
    assert outcomes["network.http[demo-hub]"] == "passed", outcomes
    told = undo(desk)
    assert "changed nothing that lasts. There is nothing to put back" in told.stdout, told
    assert told.returncode == 0


def test_undo_goes_past_a_run_that_left_nothing_to_the_one_that_did(desk):
    (desk.install / "outputs").rmdir()
    made = run(desk, "--heal", "-k", "folder")
    assert (desk.install / "outputs").is_dir(), made.out
    with hub_behind_a_proxy() as (_hub, proxy):
        env = {"http_proxy": f"http://127.0.0.1:{refusing_port()}", "HTTPS_PROXY": proxy.url}
        run(desk, "--heal", "-k", "test_proxy_settings", **env)
    told = undo(desk)
    assert "create_missing_folder" in told.stdout, told
    assert not (desk.install / "outputs").exists()


def test_a_plan_names_the_proxy_and_sets_nothing(desk):
    with hub_behind_a_proxy() as (_hub, proxy):
        env = {"http_proxy": f"http://127.0.0.1:{refusing_port()}", "HTTPS_PROXY": proxy.url}
        planned = run(desk, "--heal=plan", "-k", "network", **env)
    assert planned.finding(PROXY_CHECK)["outcome"] == "failed"
    plan = json.loads((planned.folder / "plan.json").read_text())["plans"][0]
    assert plan["recovery"] == "configure_proxy"
    assert f"http_proxy={proxy.url}" in plan["operations"][0]["text"]
    assert not journals(desk)


def test_two_workers_and_their_controller_share_what_one_set(desk):
    (desk.install / SHARD).unlink()
    with hub_behind_a_proxy() as (_hub, proxy):
        env = {"http_proxy": f"http://127.0.0.1:{refusing_port()}", "HTTPS_PROXY": proxy.url}
        healed = run(desk, "--heal", "-n2", "-k", "network", **env)
    assert healed.finding(PROXY_CHECK)["outcome"] == "degraded", healed.out
    assert healed.code == 0, healed.out
    closing = json.loads((healed.folder / "closing" / "report.json").read_text())
    outcomes = {each["check"]: each["outcome"] for each in closing["findings"]}
    assert outcomes[PROXY_CHECK] == "degraded", outcomes


def test_where_nothing_leads_there_each_is_named_with_its_reason(desk):
    (desk.install / SHARD).unlink()  # else the run could go on offline
    dead = f"http://127.0.0.1:{refusing_port()}"
    found = run(desk, "--heal", "-k", "network", http_proxy=dead, ALL_PROXY="gopher://elsewhere:70")
    finding = found.finding(PROXY_CHECK)
    assert finding["outcome"] == "failed"
    tried = finding["attempts"][0]
    assert tried["verdict"] == "refused"
    assert "without a proxy, to 'demo-hub'" in tried["error"], tried
    assert f"{dead} (set by http_proxy)" in tried["error"]
    assert "gopher://elsewhere:70 (set by ALL_PROXY): it is no kind of proxy" in tried["error"]


@pytest.mark.skipif(sys.platform != "linux", reason="0.0.0.0 leads to this machine on Linux only")
def test_a_dead_proxy_is_dropped_where_none_is_needed(desk):
    """0.0.0.0 is this machine by an address that the rules for loopback do not know."""
    dead = f"http://127.0.0.1:{refusing_port()}"
    with hub_behind_a_proxy() as (hub, _proxy):
        url = hub.endpoint.replace("127.0.0.1", "0.0.0.0")
        healed = run(desk, "--heal", "-k", "network", url=url, http_proxy=dead, NO_PROXY="a.b")
    finding = healed.finding(PROXY_CHECK)
    assert finding["outcome"] == "degraded", healed.out
    assert "unset http_proxy" in finding["next"]
    assert "export NO_PROXY=a.b,localhost,127.0.0.1,::1" in finding["next"]


def test_a_password_is_used_and_written_nowhere(desk):
    with hub_behind_a_proxy(password="ann:s3cret") as (_hub, proxy):
        good = proxy.url.replace("//", "//ann:s3cret@")
        env = {"http_proxy": f"http://127.0.0.1:{refusing_port()}", "ALL_PROXY": good}
        healed = run(desk, "--heal", "-k", "network", **env)
    finding = healed.finding(PROXY_CHECK)
    assert finding["outcome"] == "degraded", healed.out
    assert 'export http_proxy="$ALL_PROXY"' in finding["next"]
    assert made_lasting(finding, "http_proxy", **env) == good
    assert made_lasting(finding, "ALL_PROXY", **env) == ""
    everything = healed.out + journals(desk)
    for path in desk.folder.parent.rglob("*"):
        if path.is_file():
            everything += path.read_bytes().decode("latin-1")
    assert "s3cret" not in everything
    assert "***@127.0.0.1" in everything


def test_no_file_of_a_run_holds_a_piece_of_a_password_that_is_not_percent_encoded(desk):
    pieces = ("annzq", "q7z", "x8w", "k3v", "j5y", "u6b", "c2m")
    with hub_behind_a_proxy() as (_hub, proxy):
        healed = run(
            desk,
            "--heal",
            "-k", "network or weights or pip or dependencies",
            f"--junitxml={desk.folder / 'junit.xml'}",
            http_proxy="http://annzq:q7z?x8w@127.0.0.1:9",
            HTTP_PROXY=proxy.url,
            HTTPS_PROXY="http://annzq:4711/k3v@127.0.0.1:9",
            https_proxy="annzq:j5y://u6b@127.0.0.1:9",
            ALL_PROXY="http://c2m/q7z@127.0.0.1:9",
            PIP_PROXY="http://annzq:q7z#x8w@127.0.0.1:9",
        )  # fmt: skip
    assert healed.finding(PROXY_CHECK)["outcome"] in {"failed", "degraded"}, healed.out
    everything = {"out": healed.out, "journals": journals(desk)}
    for path in desk.folder.parent.rglob("*"):
        if path.is_file():
            everything[str(path)] = path.read_bytes().decode("latin-1")
    assert len([name for name in everything if "report" in name or "junit" in name]) >= 4
    found = [
        (name, piece) for name, text in everything.items() for piece in pieces if piece in text
    ]
    assert found == []
    assert "***@127.0.0.1:9" in healed.out
