"""The world around the sample installer: a Hub, a folder of wheels, a registrar, and its process."""

from __future__ import annotations

import atexit
import contextlib
import functools
import hashlib
import http.server
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from python_support import add_package, make_venv, site_packages
from support import CHECKOUT, child_env
from wheel_support import make_wheel

from modelmedic.testing.hub import DEMO_REPO, LoopbackHub, demo_hub
from modelmedic.testing.specimens import demo_files, demo_manifest

PACKAGES = {"sun": "1.0", "moon": "2.0"}
SHARD = "diffusion_pytorch_model-00002-of-00003.safetensors"
_PROFILE = """\
name = "sample"
extends = "demo"
title = "The sample installer's model"
install_dir = "app"

[python]
required = true
requirements = [{{ spec = "sun==1.0" }}, {{ spec = "moon==2.0" }}]
source = "the sample installer"

[[endpoints]]
name = "demo-hub"
url = "{hub}"

[[endpoints]]
name = "mirror"
url = "{mirror}"
kind = "hub"
purpose = "the weights, from a mirror"
required = false

[[models]]
name = "demo"

[[models.sources]]
kind = "hub"
repo = "modelmedic/demo"
revision = "main"
endpoint = "demo-hub"

[[models.sources]]
kind = "hub"
repo = "modelmedic/demo"
revision = "main"
endpoint = "mirror"
"""


# What the integrator's own package declares by entry points.
_ENTRIES = """\
[modelmedic.classify]
sample = sample_known:classify
"""
_SHIM_ENTRIES = """
[modelmedic.shims]
sample_installer.model_downloader:ModelDownloader.missing_files = sample_known:missing_files
"""
_KNOWN = """\
import re
from modelmedic import EnhancedErrorCategory as Category, shim

def classify(error):
    \"\"\"Return what an error of the installer's own is, where its type does not say it.\"\"\"
    if isinstance(error, ValueError) and re.search("has [0-9]+ bytes, expected", str(error)):
        return Category.CORRUPTION
    if isinstance(error, ImportError) and "required is" in str(error):
        return Category.VERSION_MISMATCH
    if isinstance(error, FileNotFoundError) and "/model/" in str(error.filename):
        return Category.VALIDATION
    return None

@shim("sample-installer>=1,<2")
def missing_files(self):
    return [path for path in self.order.files if not (self.order.model / path).exists()]
"""


class Registrar:
    """Counts installations; on request it breaks the connection after it has counted."""

    def __init__(self) -> None:
        self.count = 0
        self.resets = 0
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                outer.count += 1
                if outer.resets:
                    outer.resets -= 1
                    linger = struct.pack("ii", 1, 0)
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                    self.close_connection = True
                    return
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,))
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@functools.cache
def wheels() -> Path:
    """Return a folder with the wheels of the app, made once in this process."""
    folder = Path(tempfile.mkdtemp(prefix="modelmedic-sample-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    core = {"moon/core.py": "PHASE = 'full'\n"}
    for version in ("1.0", "2.0"):
        text = f"from moon.core import PHASE\n__version__ = '{version}'\n"
        make_wheel(folder / "wheels", "moon", version, files={"moon/__init__.py": text, **core})
    settings = f"[global]\nno-index = true\nfind-links = {folder / 'wheels'}\n"
    (folder / "pip.conf").write_text(settings)
    make_wheel(folder / "wheels", "sun", "1.0", "moon", files={"sun.py": "import moon\n"})
    return folder / "wheels"


def pip_settings() -> Path:
    """Return the settings of pip as the machine's owner would make them: that folder alone."""
    return wheels().parent / "pip.conf"


@functools.cache
def environment(*names: str) -> Path:
    """Return an environment with some wheels ("moon-2.0"), laid out by pip once, to be copied."""
    folder = wheels().parent / "-".join(("env", *names))
    target = make_venv(folder)
    files = [str(next(wheels().glob(f"{name}-py3*"))) for name in names]
    subprocess.run(
        [sys.executable, "-m", "pip", "--isolated", "--disable-pip-version-check", "--python",
         str(target), "install", "--quiet", "--no-deps", "--no-index", *files],
        check=True, timeout=120, capture_output=True,
    )  # fmt: skip
    for found in site_packages(target).glob("*.dist-info/direct_url.json"):
        found.unlink()  # as when they came from an index
        record = found.with_name("RECORD")
        lines = record.read_text().splitlines(keepends=True)
        record.write_text("".join(x for x in lines if "direct_url.json" not in x))
    return folder


@dataclass(slots=True)
class Ended:
    """How one run of the installer ended; ``code`` is None when it had to be ended."""

    code: int | None
    out: str
    seconds: float


@dataclass(slots=True)
class World:
    """One order, its servers, and what lies in its folders."""

    folder: Path
    hub: LoopbackHub
    mirror: LoopbackHub
    registrar: Registrar
    env: dict[str, str] = field(default_factory=dict)
    release: str = ""
    has_shim: bool = False
    extras: list[str] = field(default_factory=list)
    before: list[str] = field(default_factory=list)  # a program that starts the installer
    after: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    @property
    def app(self) -> Path:
        return self.folder / "app"

    @property
    def model(self) -> Path:
        return self.app / "model"

    @property
    def state(self) -> Path:
        return self.folder / "state"

    def write_order(self) -> Path:
        order = {
            "install_dir": str(self.app),
            "hub": self.hub.endpoint,
            "repo": DEMO_REPO,
            "files": {
                row["path"]: {"size": row["size"], "sha256": row["sha256"]}
                for row in demo_manifest()
            },
            "packages": PACKAGES,
            "extras": self.extras,
            "wheels": str(wheels()),
            "registrar": self.registrar.url,
            "profile": str(self.folder / "sample.toml"),
        }
        (self.folder / "sample.toml").write_text(
            _PROFILE.format(hub=self.hub.endpoint, mirror=self.mirror.endpoint)
        )
        (self.folder / "order.json").write_text(json.dumps(order))
        return self.folder / "order.json"

    def with_environment(self, *names: str) -> Path:
        """Put an environment into the install; return its package folder."""
        self.app.mkdir(exist_ok=True)
        shutil.copytree(environment(*names), self.app / ".venv", symlinks=True)
        return site_packages(self.app / ".venv/bin/python")

    def with_model(self) -> None:
        """Put the whole model into the install, as after a finished download."""
        for path, content in demo_files().items():
            (self.model / path).parent.mkdir(parents=True, exist_ok=True)
            (self.model / path).write_bytes(content)
        (self.model / ".complete").touch()

    def start(self, mode: str) -> subprocess.Popen[str]:
        """Start the installer in a process group of its own."""
        command = [*self.before, sys.executable, "-m", "sample_installer", str(self.write_order())]
        command += [f"--{mode}", *([f"--release={self.release}"] if self.release else [])]
        paths = os.pathsep.join(
            [str(CHECKOUT / "tests"), str(CHECKOUT / "src"), str(self.with_integration())]
        )
        temp = self.folder / "tmp"
        temp.mkdir(exist_ok=True)
        env = child_env(MODELMEDIC_STATE_DIR=str(self.state), PYTHONPATH=paths, TMPDIR=str(temp))
        foreign = [k for k in env if "proxy" in k.lower() or k.startswith("PIP_")]
        for name in foreign:
            del env[name]
        env |= {"PIP_CONFIG_FILE": str(pip_settings()), "MODELMEDIC_RETRY_FIRST_SECONDS": "0.2"}
        env |= self.env
        return subprocess.Popen(
            command, cwd=self.folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL, text=True, start_new_session=True,
        )  # fmt: skip

    def run(self, mode: str, deadline_seconds: float = 100) -> Ended:
        """Run the installer to its end, or end it with all it started after a time."""
        began = time.monotonic()
        child = self.start(mode)
        try:
            out, _ = child.communicate(timeout=deadline_seconds)
            code = child.returncode
        except subprocess.TimeoutExpired:
            code, out = None, end(child)
        return Ended(code, out, time.monotonic() - began)

    def journal(self) -> list[dict]:
        """Return every line that the library's journal has."""
        return [
            json.loads(line)
            for path in sorted(self.state.glob("reliability*.jsonl"))
            for line in path.read_text(encoding="utf-8").splitlines()
        ]

    def attempts(self) -> set[tuple[str, str]]:
        """Return strategy and verdict of each one that the journal says was tried."""
        tried = [line for line in self.journal() if line["kind"] == "attempt"]
        return {(line["strategy"], line["verdict"]) for line in tried}

    def with_integration(self) -> Path:
        """Install the installer and the integrator's package, as far as metadata go."""
        folder = self.folder / "packages"
        if not folder.exists():
            add_package(folder, "sample-installer", "1.4")
            info = add_package(folder, "sample-known", "1.0")
            text = _ENTRIES + _SHIM_ENTRIES * self.has_shim
            (info / "entry_points.txt").write_text(text)
            (folder / "sample_known.py").write_text(_KNOWN)
        return folder

    def wrong(self) -> list[str]:
        """Return what an install that is complete would not have; empty when it is complete."""
        found = [
            row["path"]
            for row in demo_manifest()
            if digest_of(self.model / row["path"]) != row["sha256"]
        ]
        found += [str(path) for path in self.app.rglob("*.part")]
        found += [str(path) for path in self.app.rglob("*.lock")]
        if self.registrar.count != 1:
            found.append(f"{self.registrar.count} registrations")
        return found + self._wrong_settings() + self._wrong_packages()

    def _wrong_settings(self) -> list[str]:
        try:
            settings = json.loads((self.app / "settings.json").read_text())
            return [] if settings["steps"] in range(1, 101) else ["settings.json"]
        except (OSError, ValueError, KeyError) as error:
            return [f"settings.json: {error}"]

    def _wrong_packages(self) -> list[str]:
        code = "import sun, moon; assert moon.__version__ == '2.0'"
        command = [str(self.app / ".venv/bin/python"), "-I", "-B", "-c", code]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        except OSError as error:
            return [f"no environment: {error}"]
        return [] if done.returncode == 0 else [done.stderr]


@contextlib.contextmanager
def world(folder: Path):
    """Serve the model twice and count registrations, for one install below a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    registrar = Registrar()
    try:
        with demo_hub() as hub, demo_hub() as mirror, contextlib.ExitStack() as after:
            # What is mounted or closed goes first, and also after a test that failed.
            yield World(folder, hub, mirror, registrar, after=after)
    finally:
        registrar.stop()


def digest_of(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""


def end(child: subprocess.Popen[str]) -> str:
    """Kill a child with its group; return what it printed."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    return child.communicate(timeout=20)[0]
