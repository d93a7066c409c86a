"""A Hub that only a proxy reaches: ``hub.test`` has no address here, the proxy knows it."""

from __future__ import annotations

import contextlib
import re
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest
from network_support import Proxy
from support import CHECKOUT

from modelmedic.testing.hub import demo_hub

HUB = "http://hub.test"
NETWORK = ("-k", "network or weights")
TINYPROXY = shutil.which("tinyproxy")
needs_tinyproxy = pytest.mark.skipif(TINYPROXY is None, reason="tinyproxy (Debian) is not here")


class HubProxy(Proxy):
    """A proxy that ends each connection after its answer: one request, one line in ``asked``."""

    def _answer(self, line: str, head: str, client: socket.socket) -> bytes:
        lines = [each for each in head.split("\r\n") if not each.lower().startswith("connection:")]
        head = "\r\n".join([lines[0], "Connection: close", *lines[1:]])
        return super()._answer(line, head, client)


@contextlib.contextmanager
def hub_behind_a_proxy(password: str = "", refusal: str = ""):
    """Run the demo Hub and a proxy that knows it as ``hub.test``; yield both."""
    with demo_hub() as hub:
        port = int(hub.endpoint.rpartition(":")[2])
        proxy = HubProxy({"hub.test": port, "hub.test:80": port}, password, refusal)
        try:
            yield hub, proxy
        finally:
            proxy.close()


def demo_profile(folder: Path, url: str = HUB) -> str:
    """Write the demo profile with its Hub at ``url``, and return its path."""
    text = (CHECKOUT / "profiles" / "demo.toml").read_text(encoding="utf-8")
    text = text.replace('"embedded:demo"', f'"{url}"').replace('"demo"', '"afar"', 1)
    text = re.sub(r'install_dir = "[^"]*"\n', "", text)
    path = folder / "afar.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


@contextlib.contextmanager
def tinyproxy(folder: Path, upstream_port: int, *more: str):
    """Run Debian's tinyproxy, which asks the proxy at ``upstream_port``; yield its port and log."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    log, config = folder / "tinyproxy.log", folder / "tinyproxy.conf"
    upstream = f'Upstream http 127.0.0.1:{upstream_port} ".test"'
    lines = [f"Port {port}", "Listen 127.0.0.1", "Timeout 20", "LogLevel Connect", upstream, *more]
    config.write_text("\n".join([*lines, f'LogFile "{log}"', ""]))
    process = subprocess.Popen([TINYPROXY, "-d", "-c", str(config)], stdout=subprocess.DEVNULL)
    try:
        _await(port, process)
        yield port, log
    finally:
        process.terminate()
        process.wait(10)


def _await(port: int, process: subprocess.Popen) -> None:
    ends_at = time.monotonic() + 10
    while time.monotonic() < ends_at and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.02)
    raise AssertionError("tinyproxy did not begin to listen")
