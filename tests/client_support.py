"""The Hub's client in one process that answers many tests: its start is what costs."""

from __future__ import annotations

import atexit
import functools
import json
import subprocess
import tempfile
from pathlib import Path

from support import child_env

SERVE = """
import json, sys, time, warnings
warnings.simplefilter("ignore")
import huggingface_hub

sleep = time.sleep
time.sleep = lambda seconds: sleep(seconds / 50)  # it waits up to 8 s between its tries

def download(repo, **told):
    folder = huggingface_hub.snapshot_download(repo, revision="main", **told)
    return {"folder": folder, "version": huggingface_hub.__version__}

def verify(repo, endpoint, **told):
    api = huggingface_hub.HfApi(endpoint=endpoint)
    if not hasattr(api, "verify_repo_checksums"):
        return {"lacks": huggingface_hub.__version__}
    found = api.verify_repo_checksums(repo, **told)
    return {"checked": found.checked_count, "mismatches": [each["path"] for each in found.mismatches],
            "missing": list(found.missing_paths)}

for line in sys.stdin:
    call, told = json.loads(line)
    try:
        answer = {"download": download, "verify": verify}[call](**told)
    except Exception as error:
        answer = {"error": type(error).__name__, "text": str(error)}
    print(json.dumps(answer), flush=True)
"""
_OWN = {
    "HF_HUB_DISABLE_XET": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "NO_COLOR": "1",
    "NO_PROXY": "127.0.0.1",
    "no_proxy": "127.0.0.1",
}


@functools.cache
def served(python: str) -> Served:
    """Return the process of the client that ``python`` has; it ends with this one."""
    return Served(python)


class Served:
    """A process that calls huggingface_hub's own functions as it is told."""

    def __init__(self, python: str) -> None:
        self._python = python
        self._home = tempfile.TemporaryDirectory(prefix="hub-client-")
        self._process = self._start()
        atexit.register(self.close)

    def close(self) -> None:
        self._process.communicate()  # no more questions: it ends
        self._home.cleanup()

    def forget(self) -> None:
        """Begin a new process: this one knows listings that it has read."""
        self._process.communicate()
        self._process = self._start()

    def _start(self) -> subprocess.Popen[str]:
        env = {k: v for k, v in child_env().items() if not k.startswith(("HF_", "HUGGING"))}
        return subprocess.Popen(
            [self._python, "-c", SERVE],
            env={**env, **_OWN, "HF_HOME": self._home.name},
            cwd=self._home.name,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def download(self, repo: str, hub, cache: Path, folder: Path | None = None):
        """Fetch a repo into a cache, or into a folder; return {"folder"} or {"error", "text"}."""
        told = {} if folder is None else {"local_dir": str(folder)}
        return self._ask("download", repo=repo, endpoint=hub.endpoint, cache_dir=str(cache), **told)

    def verify(self, repo: str, hub, cache: Path):
        """Do what `hf cache verify` does.

        Returns:
            {"checked", "mismatches", "missing"}, or {"lacks": version} before huggingface_hub 1.
        """
        return self._ask("verify", repo=repo, endpoint=hub.endpoint, cache_dir=str(cache))

    def _ask(self, call: str, **told):
        self._process.stdin.write(json.dumps([call, told]) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, f"the client ended with exit code {self._process.wait(10)}"
        return json.loads(answer)
