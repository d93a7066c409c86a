"""Real wheels made here, real environments with pip, and a real index on loopback."""

from __future__ import annotations

import atexit
import base64
import compileall
import functools
import hashlib
import os
import shutil
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
import urllib.request
import zipfile
from pathlib import Path

from python_support import site_packages

# The machine's own settings of pip are nobody's business in a test: these override them.
QUIET_PIP = (
    "[global]\nfind-links =\nextra-index-url =\nconstraint =\ndisable-pip-version-check = 1\n"
)
_START_SECONDS = 30.0
_PYTHON = "Scripts/python.exe" if os.name == "nt" else "bin/python"


def make_wheel(
    folder: Path,
    name: str,
    version: str = "1.0",
    *requires: str,
    files: dict[str, str | bytes] | None = None,
    scripts: dict[str, str] | None = None,
    tag: str = "py3-none-any",
) -> Path:
    """Write a wheel with real METADATA, RECORD and entry points and return its path.

    Without ``files`` it brings one module that tells its version.
    """
    stem = name.replace("-", "_")
    content = dict(files or {f"{stem}/__init__.py": f'__version__ = "{version}"\n'})
    info = f"{stem}-{version}.dist-info"
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    lines += [f"Requires-Dist: {line}" for line in requires]
    content[f"{info}/METADATA"] = "\n".join(lines) + "\n\nA package made by a test.\n"
    pure = "true" if tag.endswith("none-any") else "false"
    content[f"{info}/WHEEL"] = (
        f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: {pure}\nTag: {tag}\n"
    )
    if scripts:
        rows = [f"{script} = {target}" for script, target in scripts.items()]
        content[f"{info}/entry_points.txt"] = "[console_scripts]\n" + "\n".join(rows) + "\n"
    data = {
        path: text.encode() if isinstance(text, str) else text for path, text in content.items()
    }
    record = [f"{path},sha256={_digest(blob)},{len(blob)}" for path, blob in data.items()]
    data[f"{info}/RECORD"] = "\n".join([*record, f"{info}/RECORD,,", ""]).encode()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{stem}-{version}-{tag}.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for entry, blob in data.items():
            archive.writestr(zipfile.ZipInfo(entry, (2026, 1, 2, 3, 4, 6)), blob)
    return path


def _digest(blob: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(blob).digest()).rstrip(b"=").decode()


def sha256_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def extension(code: str, name: str, *options: str) -> tuple[str, bytes]:
    """Compile a C extension for this Python; return its file name and bytes."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, f"{name}.c")
        source.write_text(code)
        target = Path(folder, f"{name}{sysconfig.get_config_var('EXT_SUFFIX')}")
        subprocess.run(
            ["gcc", "-shared", "-fPIC", f"-I{sysconfig.get_path('include')}", *options,
             str(source), "-o", str(target)], check=True, timeout=60, capture_output=True,
        )  # fmt: skip
        return target.name, target.read_bytes()


@functools.cache
def _template(*wheels: Path) -> Path:
    """Make one environment with pip and some wheels, once.

    Copies of it work: only its programs, of which no test here starts an old one, name its path.
    """
    folder = Path(tempfile.mkdtemp(prefix="modelmedic-env-")) / "env"
    atexit.register(shutil.rmtree, folder.parent, ignore_errors=True)
    if not wheels:
        subprocess.run([sys.executable, "-I", "-m", "venv", str(folder)], check=True, timeout=120)
        # pip starts three times as fast compiled, and nobody may write the caches later.
        compileall.compile_dir(str(site_packages(folder / _PYTHON)), quiet=2)
        return folder
    shutil.copytree(_template(), folder, symlinks=True)
    target = folder / _PYTHON
    pip(target, "install", "--no-deps", "--no-index", "--no-compile", *map(str, wheels))
    for found in site_packages(target).glob("*.dist-info/direct_url.json"):
        found.unlink()  # as when they came from an index
        record = found.with_name("RECORD")
        lines = record.read_text().splitlines(keepends=True)
        record.write_text("".join(x for x in lines if "direct_url.json" not in x))
    return folder


def pip_venv(folder: Path, *wheels: Path, index: str = "") -> Path:
    """Make an environment with pip and some wheels in it; return its interpreter."""
    shutil.copytree(_template(*wheels), folder, symlinks=True)
    text = QUIET_PIP + (f"index-url = {index}\n" if index else "no-index = true\n")
    (folder / ("pip.ini" if os.name == "nt" else "pip.conf")).write_text(text)
    return folder / _PYTHON


def pip(target: Path, *arguments: str) -> str:
    """Run the pip of an environment without this machine's settings; return what it printed."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("PIP_", "PYTHON"))}
    done = subprocess.run(
        [str(target), "-I", "-B", "-m", "pip", "--no-cache-dir", *arguments],
        capture_output=True, text=True, env=env, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


class LocalIndex:
    """A pypiserver on loopback over a folder of wheels, a child that `stop` ends."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.log = tempfile.TemporaryFile()  # noqa: SIM115 - closed by stop
        self.child = subprocess.Popen(
            [sys.executable, "-m", "pypiserver", "run", "-i", "127.0.0.1", "-p", str(self.port),
             "--disable-fallback", "--backend", "simple-dir", str(folder)],
            stdout=self.log, stderr=self.log,
        )  # fmt: skip
        self._wait()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/simple/"

    def _wait(self) -> None:
        ends_at = time.monotonic() + _START_SECONDS
        while True:
            try:
                with urllib.request.urlopen(self.url, timeout=5):
                    return
            except OSError:
                assert self.child.poll() is None, "pypiserver ended"
                assert time.monotonic() < ends_at, "pypiserver did not answer"
                time.sleep(0.05)

    def stop(self) -> None:
        self.child.terminate()
        self.child.wait(timeout=10)
        self.log.close()
