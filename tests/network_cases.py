"""The conformance cases of recoveries whose fault lies outside the install: in the network."""

from __future__ import annotations

import contextlib
from pathlib import Path

import certifi
import trustme
from network_support import Reply, refusing_port, server_context, serving
from proxy_support import HubProxy
from toxic_proxy_support import toxic_proxy

from modelmedic.testing.conformance import Case
from modelmedic.testing.hub import demo_hub

PROFILE = str(Path(__file__).parent / "conformance_profiles" / "behind-a-proxy.toml")
TLS_PROFILE = str(Path(__file__).parent / "conformance_profiles" / "behind-tls.toml")
SHARD = "model/diffusion_pytorch_model-00002-of-00003.safetensors"
CALM = tuple(
    (spelled, "")
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
    for spelled in (name, name.upper())
)
IN_TROUBLE = 3  # the check, and each time it is planned; the first wait ends in an answer
_running: dict[Path, object] = {}  # by the folder of an install: what its run meets


@contextlib.contextmanager
def behind_a_proxy(folder, is_broken):
    """The Hub is known to a proxy only; the one that is set first is dead, where broken."""
    with demo_hub() as hub:
        port = int(hub.endpoint.rpartition(":")[2])
        proxy = _running[folder] = HubProxy({"hub.test": port})
        first = f"http://127.0.0.1:{refusing_port()}" if is_broken else proxy.url
        try:
            yield {"http_proxy": first, "HTTPS_PROXY": proxy.url}
        finally:
            proxy.close()


def let_the_proxy_forbid(install):
    _running[install.parent].refusal = "403 Forbidden"


@contextlib.contextmanager
def out_of_reach(folder, is_broken):
    """No name server knows the Hub, where broken; else a proxy does."""
    with behind_a_proxy(folder, is_broken=False) as variables:
        yield {} if is_broken else variables


def lose_a_shard(install):
    (install / SHARD).unlink()


class Trouble:
    """Answers 503 a few times, then as a Hub; once limited, 503 with a long Retry-After."""

    def __init__(self, times):
        self.left, self.is_limited = times, False

    def __call__(self, _seen):
        if self.is_limited:
            return Reply(503, headers={"Retry-After": "3600"})
        self.left -= 1
        if self.left >= 0:
            return Reply(503)
        return Reply(body=b'{"sha": "abc", "id": "modelmedic/demo"}', headers={"ETag": '"a"'})


@contextlib.contextmanager
def in_trouble(folder, is_broken):
    trouble = _running[folder] = Trouble(IN_TROUBLE if is_broken else 0)
    with serving(trouble) as server:
        yield {"HF_ENDPOINT": server.url}


def let_the_server_limit(install):
    _running[install.parent].is_limited = True


@contextlib.contextmanager
def led_astray(folder, is_broken):
    """A proxy knows the Hub; HF_ENDPOINT names a server that is gone, where broken."""
    with behind_a_proxy(folder, is_broken=False) as variables:
        gone = f"http://127.0.0.1:{refusing_port()}"
        yield variables | {"NO_PROXY": "127.0.0.1", "HF_ENDPOINT": gone if is_broken else ""}


@contextlib.contextmanager
def intercepted(folder, is_broken):
    """A company opens TLS; its root stands in one setting, and not in the one that comes first."""
    company, root = trustme.CA(), folder / "company-root.pem"
    company.cert_pem.write_to_path(root)
    tls = server_context(company.issue_cert("hub.test"))
    with demo_hub() as hub, toxic_proxy(int(hub.endpoint.rpartition(":")[2]), tls=tls) as front:
        proxy = HubProxy({"hub.test:443": front.port})
        _running[folder] = root
        try:
            first = certifi.where() if is_broken else str(root)
            yield {
                "https_proxy": proxy.url,
                "REQUESTS_CA_BUNDLE": first,
                "SSL_CERT_FILE": str(root),
            }
        finally:
            proxy.close()


def let_nobody_trust_it(install):
    trustme.CA().cert_pem.write_to_path(_running[install.parent])


CASES = (
    Case(
        recovery="use_alternative_endpoint",
        check="network.tcp[demo-hub]",
        category="network",
        outside=led_astray,
        spoil=let_the_proxy_forbid,
        leaves="degraded",
        profile=PROFILE,
        environ=CALM,
    ),
    Case(
        recovery="trust_by_system_store",
        check="network.tls[demo-hub]",
        category="network",
        outside=intercepted,
        spoil=let_nobody_trust_it,
        leaves="degraded",
        profile=TLS_PROFILE,
        environ=CALM,
    ),
    Case(
        recovery="configure_proxy",
        check="network.proxy",
        category="network",
        outside=behind_a_proxy,
        spoil=let_the_proxy_forbid,
        leaves="degraded",
        profile=PROFILE,
        environ=CALM,
    ),
    Case(
        recovery="work_offline",
        check="network.dns[demo-hub]",
        category="network",
        outside=out_of_reach,
        spoil=lose_a_shard,
        leaves="degraded",
        profile=PROFILE,
        environ=CALM,
    ),
    Case(
        recovery="wait_and_ask_again",
        check="network.http[demo-hub]",
        category="network",
        outside=in_trouble,
        spoil=let_the_server_limit,
        profile=PROFILE,
        environ=CALM,
    ),
)
