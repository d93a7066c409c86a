"""What a killed download costs: the bytes fetched again after SIGKILL at half of the file.

    python benchmarks/fetch_resume.py [MIB]

A loopback Hub serves one file (default 1,024 MiB) and falls silent at exactly half of it; the
client is killed there and started again. Counted are the bytes of body that the Hub sent to the
second run. The same is done, in the same run, with the peer: ``hf download`` of the huggingface_hub
that is installed here.

Bar: at most 51 % of the file is fetched again, and the file is right. Source: the requirement on
a repair of huge files; half of the file is 50 %, and one block of 4 MiB may be lost.
"""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

from measuring import CHECKOUT, own_environment

MIB = 1024
BAR_RATIO = 0.51
WAIT_SECONDS = 120.0
SETTLE_SECONDS = 1.0  # for what was sent to be read; silence is borne for longer by both
REPO, FILE = "org/model", "a.safetensors"
OURS = f"""
import sys
sys.path.insert(0, {str(CHECKOUT / "src")!r})
from pathlib import Path
from modelmedic.operations.base import Workshop
from modelmedic.operations.fetch_file import FetchFile
from modelmedic.operations.tree import Tree
endpoint, sha256, size, place = sys.argv[1:]
url = endpoint + "/{REPO}/resolve/main/{FILE}"
shop = Workshop(Tree(Path(place)), "run")
job = FetchFile("{FILE}", int(size), sha256, "", (url,), None)
job.apply(shop, job.prepare(shop, "seat"))
"""
THEIRS = """
import sys
from huggingface_hub.cli.hf import main
sys.exit(main())
"""


def main() -> int:
    """Print the figures; return 1 when the bar is missed."""
    mib = int(sys.argv[1]) if len(sys.argv) > 1 else MIB
    sys.path.insert(0, str(CHECKOUT / "src"))
    from modelmedic.testing.hub import LoopbackHub

    with tempfile.TemporaryDirectory() as folder, LoopbackHub() as hub:
        source = Path(folder, "source")
        sha256 = _fill(source, mib)
        hub.add_repo(REPO, {FILE: source})
        size = source.stat().st_size
        print(f"Python {sys.version.split()[0]}, one file of {size:,} bytes")
        ours = Path(folder, "ours")
        theirs = Path(folder, "theirs")
        argv = [OURS, hub.endpoint, sha256, str(size), str(ours)]
        again = _again(hub, argv, ours, size, folder)
        is_right = _sha256(ours / FILE) == sha256
        print(f"modelmedic: {again / size:7.2%} fetched again, {'right' if is_right else 'WRONG'}")
        argv = [THEIRS, "download", REPO, FILE, "--local-dir", str(theirs)]
        peer = _again(hub, argv, theirs, size, folder)
        state = "right" if _sha256(theirs / FILE) == sha256 else "WRONG"
        name = f"peer: hf download {version('huggingface_hub')}"
        print(f"{name}: {peer / size:7.2%} fetched again, {state}")
        print(f"ratio to the peer: {again / peer:.2f}")
    is_met = is_right and again / size <= BAR_RATIO
    print(f"bar {BAR_RATIO:.0%}: {'met' if is_met else 'MISSED'}")
    return 0 if is_met else 1


def _again(hub: object, argv: list[str], place: Path, size: int, home: str) -> int:
    """Kill a client at half of the file, start it again, and return what the second one got."""
    from modelmedic.testing.hub import Fault

    place.mkdir()
    env = own_environment(Path(home, "home")) | {
        "HF_ENDPOINT": hub.endpoint,  # type: ignore[attr-defined]
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
    command = [sys.executable, "-I", "-c", *argv]
    quiet = {"env": env, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    hub.clear()  # type: ignore[attr-defined]
    fault = Fault(stall_seconds=WAIT_SECONDS, stall_after_bytes=size // 2)
    hub.fault("cdn GET", fault)  # type: ignore[attr-defined]
    with subprocess.Popen(command, **quiet) as process:
        try:
            end = time.monotonic() + WAIT_SECONDS
            while _sent(hub) < size // 2 and process.poll() is None and time.monotonic() < end:
                time.sleep(0.05)
            time.sleep(SETTLE_SECONDS)
        finally:
            process.send_signal(signal.SIGKILL)
    if _sent(hub) != size // 2:
        raise SystemExit(f"The client was not killed at half of the file but at {_sent(hub):,}.")
    hub.clear()  # type: ignore[attr-defined]
    subprocess.run(command, **quiet, check=True, timeout=5 * WAIT_SECONDS)
    return _sent(hub)


def _sent(hub: object) -> int:
    records = hub.requests  # type: ignore[attr-defined]
    return sum(record.bytes_sent for record in records if record.side == "cdn")


def _fill(path: Path, mib: int) -> str:
    """Write random bytes and return their SHA-256."""
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for _each in range(mib):
            piece = os.urandom(1 << 20)
            digest.update(piece)
            file.write(piece)
    return digest.hexdigest()


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


if __name__ == "__main__":
    sys.exit(main())
