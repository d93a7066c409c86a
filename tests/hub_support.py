"""What the tests of the loopback Hub share: a small repo, and ways to ask for it."""

from __future__ import annotations

import contextlib
import socket
from urllib.parse import urlsplit

import requests

from modelmedic.testing.hub import LoopbackHub
from modelmedic.testing.specimens import seeded_bytes

WEIGHTS = seeded_bytes("weights", 300_000)
CONFIG = b'{"dim": 4}\n'
FILES = {
    "config.json": CONFIG,
    "vae/deep/decoder.safetensors": seeded_bytes("decoder", 5_000),
    "vae/notes.txt": b"notes",
    "weights.safetensors": WEIGHTS,
}
REPO = "someone/model"
RESOLVE = f"/{REPO}/resolve/main"
API = f"/api/models/{REPO}"


@contextlib.contextmanager
def small_hub():
    """Serve the repo, and the same one gated."""
    with LoopbackHub() as hub:
        hub.add_repo(REPO, FILES)
        hub.add_repo("someone/gated", FILES, gated=True)
        yield hub


@contextlib.contextmanager
def client(hub):
    """Ask the hub as the machine's proxy settings would not let us."""
    with requests.Session() as session:
        session.trust_env = False

        def ask(method, path, **options):
            options.setdefault("timeout", 10)
            return session.request(method, hub.endpoint + path, **options)

        ask.get = lambda path, **options: ask("GET", path, **options)
        ask.head = lambda path: ask("HEAD", path, allow_redirects=False)
        yield ask


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


@contextlib.contextmanager
def dial(url, *headers):
    """Send one GET over a bare socket, and yield the socket."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), timeout=10) as connection:
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        lines = [f"GET {target} HTTP/1.1", "Host: loopback", *headers, "", ""]
        connection.sendall("\r\n".join(lines).encode())
        yield connection


def read_to_end(connection):
    """Return what arrives, and the error that ended it; None for a clean end."""
    got = b""
    try:
        while piece := connection.recv(65536):
            got += piece
    except OSError as error:
        return got, error
    return got, None


def body_of(raw):
    head, _, body = raw.partition(b"\r\n\r\n")
    return head.decode("latin-1"), body


def cdn_url(web, path="weights.safetensors"):
    return web.head(f"{RESOLVE}/{path}").headers["Location"]


def refused(answer):
    return answer.status_code, answer.headers.get("X-Error-Code")
