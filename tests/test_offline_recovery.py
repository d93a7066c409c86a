"""The recovery work_offline: only where everything that is needed is proven to lie here."""

from __future__ import annotations

import json
import os

import pytest
from demo_support import Desk, snapshot
from network_support import calm
from proxy_support import demo_profile, hub_behind_a_proxy
from support import make_facts, make_profile

from modelmedic.facts import local_proof
from modelmedic.profile.model import PythonNeeds, Requirement
from modelmedic.testing.conformance import prepare_demo

pytestmark = pytest.mark.once  # nothing in it depends on the version of Python
SHARD = "model/diffusion_pytorch_model-00002-of-00003.safetensors"
DNS_CHECK = "network.dns[demo-hub]"


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """A whole install whose Hub has no address here."""
    calm(monkeypatch)
    folder = tmp_path / "desk"
    folder.mkdir()
    prepare_demo(folder / "demo-install")
    return Desk(folder, env={"PIP_CONFIG_FILE": os.devnull, "HOME": str(tmp_path)})


def run(desk, *options, **env):
    desk.env = desk.env | env
    return desk.run(
        f"--install-dir={desk.install}", "--stage=installed", "-k", "network", *options,
        profile=demo_profile(desk.folder.parent),
    )  # fmt: skip


def network_outcomes(found):
    return {each["check"]: each["outcome"] for each in found["findings"]}


def test_a_whole_install_works_offline_for_this_run_and_not_in_the_next(desk):
    before = snapshot(desk.install)
    healed = run(desk, "--heal")
    assert healed.code == 0, healed.out
    finding = healed.finding(DNS_CHECK)
    assert finding["outcome"] == "degraded"
    assert finding["attempts"][-1]["recovery"] == "work_offline"
    assert "export HF_HUB_OFFLINE=1; export TRANSFORMERS_OFFLINE=1" in finding["next"]
    assert "all 8 files (5.3 MiB) are proven here" in finding["what"]
    assert finding["what"].count("has no address here") == 1
    assert healed.finding("network.http[demo-hub]")["outcome"] == "skipped"
    closing = json.loads((healed.folder / "closing" / "report.json").read_text())
    assert network_outcomes(closing)[DNS_CHECK] == "degraded"
    later = run(desk)
    assert later.finding(DNS_CHECK)["outcome"] == "failed"
    assert snapshot(desk.install) == before


def test_the_printed_command_makes_it_last_where_the_files_are_sealed(desk):
    sealed = run(desk, "--deep", "-k", "weights", "--offline")
    assert sealed.code == 0, sealed.out
    lasting = run(desk, HF_HUB_OFFLINE="1")
    finding = lasting.finding(DNS_CHECK)
    assert finding["outcome"] == "degraded", finding
    assert not finding["attempts"]
    assert lasting.code == 0, lasting.out


def test_a_missing_file_is_named_with_its_bytes_and_nothing_is_set(desk):
    (desk.install / SHARD).unlink()
    failed = run(desk, "--heal")
    assert failed.finding(DNS_CHECK)["outcome"] == "failed"
    refused = failed.finding(DNS_CHECK)["attempts"][-1]
    assert refused["verdict"] == "refused"
    assert f"not there: {SHARD} (" in refused["error"]


def test_a_damaged_file_is_not_proven(desk):
    with (desk.install / SHARD).open("r+b") as stream:
        stream.seek(300_000)
        stream.write(b"\0\1\2\3\4\5")
    failed = run(desk, "--heal")
    assert failed.finding(DNS_CHECK)["outcome"] == "failed"
    assert f"not proven: {SHARD} (" in failed.finding(DNS_CHECK)["attempts"][-1]["error"]


def test_where_a_proxy_leads_there_nothing_goes_offline(desk):
    with hub_behind_a_proxy() as (_hub, proxy):
        config = desk.folder.parent / "pip.conf"
        config.write_text(f"[global]\nproxy = {proxy.url}\n")
        healed = run(desk, "--heal", PIP_CONFIG_FILE=str(config))
    attempt = healed.finding(DNS_CHECK)["attempts"][-1]
    assert attempt["recovery"] == "configure_proxy", healed.out
    assert "pip's setting global.proxy" in attempt["operations"][0]["text"]
    assert healed.finding("network.http[demo-hub]")["outcome"] == "passed"


@pytest.mark.parametrize("value", ["1", "ON", "yes", "True"])
def test_the_variable_is_read_as_the_hub_client_reads_it(monkeypatch, value):
    monkeypatch.setenv("HF_HUB_OFFLINE", value)
    assert local_proof.is_set()
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    assert not local_proof.is_set()


def test_a_profile_without_files_and_an_app_without_its_python_are_no_proof(tmp_path):
    empty = make_facts(tmp_path, make_profile())
    assert not empty.get(local_proof.read_local_proof).is_complete
    needs = PythonNeeds(is_required=True, requirements=(Requirement("torch"),))
    wanting = make_facts(tmp_path, make_profile(python=needs))
    assert wanting.get(local_proof.read_local_proof).packages == ("no Python of the app is there",)
