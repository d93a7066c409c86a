"""The recovery trust_by_system_store in real runs: a company opens TLS, and its root is known."""

from __future__ import annotations

import subprocess
import sys

import certifi
import pytest
import trustme
from demo_support import Desk, snapshot
from network_facts_support import facts_for
from network_support import calm, endpoint, refusing_port, server_context, serving
from proxy_support import NETWORK, demo_profile
from toxic_proxy_support import toxic_proxy

from modelmedic.errors import NotItsCase, RecoveryRefused
from modelmedic.facts import trust
from modelmedic.facts.trust import TrustStore
from modelmedic.strategies import trust_choice
from modelmedic.testing.conformance import prepare_demo
from modelmedic.testing.hub import demo_hub

SHARD = "model/diffusion_pytorch_model-00002-of-00003.safetensors"
CHECK = "network.tls[demo-hub]"
NAMES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "PIP_CERT")


@pytest.fixture(scope="module")
def company():
    return trustme.CA(organization_name="ACME Interception")


@pytest.fixture
def root(company, tmp_path):
    path = tmp_path / "company-root.pem"
    company.cert_pem.write_to_path(path)
    return path


@pytest.fixture(autouse=True)
def calm_network(monkeypatch):
    calm(monkeypatch)


@pytest.fixture
def desk(tmp_path):
    folder = tmp_path / "desk"
    folder.mkdir()
    prepare_demo(folder / "demo-install")
    return Desk(folder)


@pytest.fixture
def intercepted(company):
    """The demo Hub behind TLS that the company signs."""
    tls = server_context(company.issue_cert("127.0.0.1"))
    with demo_hub() as hub, toxic_proxy(int(hub.endpoint.rpartition(":")[2]), tls=tls) as front:
        yield f"https://127.0.0.1:{front.port}"


def run(desk, url, *options, system=None, **env):
    desk.env = env
    if system is not None:  # what update-ca-certificates wrote
        desk.first = (
            "from pathlib import Path; from modelmedic.facts import trust; "
            f"trust._system_bundle = lambda: Path({str(system)!r}); "
        )
    return desk.run(
        f"--install-dir={desk.install}", "--stage=installed", *NETWORK, *options,
        profile=demo_profile(desk.folder.parent, url),
    )  # fmt: skip


@pytest.mark.once
def test_a_root_the_system_trusts_is_taken_for_this_run_and_weights_come(desk, intercepted, root):
    (desk.install / SHARD).unlink()
    bundle = root.with_name("system.pem")
    bundle.write_bytes(root.read_bytes())
    healed = run(desk, intercepted, "--heal", system=bundle)
    finding = healed.finding(CHECK)
    assert finding["outcome"] == "degraded", finding
    assert finding["failure_id"] == "tls-interception"
    assert "certifi's bundle does not trust" in finding["what"]
    assert "which trusts ACME Interception" in finding["what"]
    for name in NAMES:
        assert f"export {name}={bundle}" in finding["next"]
    shard = healed.finding(f"weights.present[{SHARD}]")
    assert shard["outcome"] == "healed", shard
    assert healed.code == 0, healed.out
    before = snapshot(desk.install)
    later = run(desk, intercepted, system=bundle)
    assert later.finding(CHECK)["outcome"] == "failed"  # it held for that run only
    assert snapshot(desk.install) == before


@pytest.mark.once
def test_a_root_nobody_here_trusts_is_never_taken(desk, intercepted):
    """The server sends its root along; that proves nothing."""
    (desk.install / SHARD).unlink()  # else the run goes on offline: all that is needed is there
    healed = run(desk, intercepted, "--heal", "-k", "network")
    finding = healed.finding(CHECK)
    assert finding["outcome"] == "failed", finding
    attempt = next(a for a in finding["attempts"] if a["recovery"] == "trust_by_system_store")
    assert attempt["verdict"] == "refused"
    assert "No trust store of this machine trusts the certificate" in attempt["error"]
    assert "root certificate" in attempt["error"]
    assert healed.code == 1


# -- which store is taken --------------------------------------------------------------------------


def planned(place, *servers):
    facts = facts_for(place, *servers)
    (operation,) = trust_choice.plan_trust(facts, servers[0].name)
    return operation


def test_a_root_another_setting_names_is_taken(tmp_path, intercepted, root, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", certifi.where())
    monkeypatch.setenv("SSL_CERT_FILE", str(root))
    operation = planned(tmp_path, endpoint(intercepted))
    assert {name for name, _source, _shown in operation.settings} == set(NAMES)
    assert {shown for _name, _source, shown in operation.settings} == {str(root)}
    assert f"by SSL_CERT_FILE={root}" in operation.describe()


def test_a_bundle_that_is_gone_is_passed_by(tmp_path, intercepted, root, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere/gone.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(root))
    assert f"REQUESTS_CA_BUNDLE={root}" in planned(tmp_path, endpoint(intercepted)).describe()


def test_a_store_that_would_lose_another_server_is_not_taken(
    tmp_path, intercepted, root, monkeypatch
):
    other = trustme.CA()
    other.cert_pem.write_to_path(tmp_path / "other.pem")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "other.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(root))
    with serving(tls=server_context(other.issue_cert("127.0.0.1"))) as server:
        servers = endpoint(intercepted, name="hub"), endpoint(server.url, name="other")
        with pytest.raises(RecoveryRefused, match=r"does not trust 'other'"):
            planned(tmp_path, *servers)


def test_the_windows_store_is_no_file_so_the_command_that_writes_one_is_told(
    tmp_path, intercepted, root, monkeypatch
):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", certifi.where())
    system = TrustStore(trust.SYSTEM, None, (root.parent / "hashed",), is_from_system=True)
    known = (trust.stores()[0], system)
    ctx = trust.context(known[0])
    ctx.load_verify_locations(root)  # as load_default_certs does from the store of Windows
    monkeypatch.setattr(trust, "stores", lambda: known)
    real = trust.context
    monkeypatch.setattr(trust, "context", lambda s, **k: ctx if s is system else real(s, **k))
    python = tmp_path / "it's here" / "python"
    python.parent.mkdir()
    python.symlink_to(sys.executable)
    monkeypatch.setattr(sys, "executable", str(python))
    with pytest.raises(RecoveryRefused, match="is no file") as refused:
        planned(tmp_path, endpoint(intercepted))
    command = refused.value.next_step.partition("   ")[0]
    done = subprocess.run(
        ["sh", "-c", command], cwd=tmp_path, check=True, capture_output=True,
        env={"SSL_CERT_FILE": str(root)},
    )  # fmt: skip
    assert not done.stderr
    assert "BEGIN CERTIFICATE" in (tmp_path / "system-roots.pem").read_text()


def test_a_server_that_is_trusted_or_lost_otherwise_is_not_its_case(tmp_path, monkeypatch, root):
    with serving() as plain, pytest.raises(NotItsCase):
        planned(tmp_path, endpoint(plain.url))
    with pytest.raises(NotItsCase):
        planned(tmp_path, endpoint(f"https://127.0.0.1:{refusing_port()}"))
