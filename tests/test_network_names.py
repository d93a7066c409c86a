"""Names that are not found, blocked or led elsewhere: what each is called."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys

import network_checks_support
import pytest
import trustme
from network_checks_support import STAGES, Run, verdict
from network_support import endpoint, refusing_port, server_context, serving
from support import CHECKOUT

from modelmedic.facts import odd_addresses

calm_network = network_checks_support.calm_network


def name_server(monkeypatch, *addresses, error=None):
    """Let the system's resolver answer as a name server would for every name."""

    def answer(_host, port, *_args, **_kwargs):
        if error is not None:
            raise error
        return [
            (
                socket.AF_INET6 if ":" in ip else socket.AF_INET,
                socket.SOCK_STREAM,
                6,
                "",
                (ip, port),
            )
            for ip in addresses
        ]

    monkeypatch.setattr(socket, "getaddrinfo", answer)


def test_a_name_that_is_not_there_and_a_server_that_is_silent_are_told_apart(tmp_path, monkeypatch):
    run = Run(tmp_path, endpoint("https://hub.test"))
    gone = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    name_server(monkeypatch, error=gone)
    assert "has no address here" in verdict(run, STAGES[0]).what
    again = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")  # SERVFAIL
    name_server(monkeypatch, error=again)
    error = verdict(Run(tmp_path, endpoint("https://hub.test")), STAGES[0])
    assert "name server gave no answer" in error.what


@pytest.mark.parametrize("addresses", [("0.0.0.0",), ("::", "0.0.0.0")])
def test_a_name_a_filter_blocks_is_named(tmp_path, monkeypatch, addresses):
    name_server(monkeypatch, *addresses)
    error = verdict(Run(tmp_path, endpoint("https://hub.test")), STAGES[0])
    assert "is blocked by the name server" in error.what
    assert "0.0.0.0 for hub.test" in error.what
    assert "hub.test" in error.next_step


def test_a_name_that_leads_to_this_machine_is_told_where_it_fails(tmp_path, monkeypatch):
    name_server(monkeypatch, "127.0.0.1")
    error = verdict(Run(tmp_path, endpoint(f"http://hub.test:{refusing_port()}")), STAGES[1])
    assert "Its name leads to 127.0.0.1 here, this machine itself" in error.why
    assert "hosts file" in error.why
    tls = server_context(trustme.CA().issue_cert("portal.example"))
    with serving(tls=tls) as server:
        name_server(monkeypatch, "127.0.0.1")
        run = Run(tmp_path, endpoint(f"https://hub.test:{server.port}"))
        assert "Its name leads to 127.0.0.1 here" in verdict(run, STAGES[2]).why


def test_an_address_that_is_asked_for_as_such_is_no_lie(tmp_path):
    error = verdict(Run(tmp_path, endpoint(f"http://127.0.0.1:{refusing_port()}")), STAGES[1])
    assert "leads to" not in error.why


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("198.18.3.4", "fake-ip"),
        ("10.1.2.3", "private network"),
        ("172.31.0.1", "private network"),
        ("172.32.0.1", ""),
        ("fd00::1", "private network"),
        ("::1", "this machine itself"),
        ("3.160.150.2", ""),
        ("2600:9000::1", ""),
        ("", ""),
        ("proxy.example", ""),
    ],
)
def test_where_an_address_leads(address, words):
    place = odd_addresses.place_of(address)
    assert words in place
    assert bool(place) is bool(words)


OFFLINE = """
import sys
sys.path[:0] = {paths!r}
from pathlib import Path
from network_checks_support import STAGES, Run, verdict
from network_support import endpoint
from modelmedic.facts import wire
assert not wire.has_route()
print(verdict(Run(Path({place!r}), endpoint("https://hub.test")), STAGES[0]).what)
"""


@pytest.mark.skipif(sys.platform != "linux" or not shutil.which("unshare"), reason="Linux only")
def test_without_a_route_the_machine_is_called_offline(tmp_path):
    paths = [str(CHECKOUT / "src"), str(CHECKOUT / "tests")]
    code = OFFLINE.format(paths=paths, place=str(tmp_path))
    argv = ["unshare", "-rn", sys.executable, "-c", code]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    if "unshare" in done.stderr:
        pytest.skip(f"no network namespace may be made here: {done.stderr.strip()}")
    assert "this machine is offline. It has no route" in done.stdout, done.stderr
