"""In a network namespace without routes nothing in the library waits on the internet."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import offline_face
import pytest
from support import CHECKOUT, child_env

pytestmark = pytest.mark.once

UNSHARE = ["unshare", "--net"]
SCRIPT = Path(__file__).with_name("offline_face.py")
# Where something waits for a server that is not there, it is minutes; the longest parts here are
# child runs of pytest.
MOST_SECONDS = 60


def namespace():
    """Return what puts a command into a namespace of its own, or skip with the reason."""
    if shutil.which("unshare") is None:
        reason = "no unshare(1) here"
    else:
        done = subprocess.run([*UNSHARE, "true"], capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return UNSHARE
        reason = f"no network namespace may be made here: {done.stderr.strip()}"
    if os.environ.get("MODELMEDIC_TOOLS_REQUIRED"):
        pytest.fail(reason)
    pytest.skip(reason)


def without_routes(*argv, timeout=240):
    env = child_env(
        PYTHONPATH=str(CHECKOUT / "src"),
        MODELMEDIC_STATE_DIR=os.environ["MODELMEDIC_STATE_DIR"],
    )
    done = subprocess.run(
        [*namespace(), sys.executable, *argv],
        env=env, capture_output=True, text=True, check=False, timeout=timeout,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(part.__name__, marks=pytest.mark.slow if part.__name__ == "recover" else ())
        for part in offline_face.PARTS
    ],
)
def test_nothing_of_the_public_face_waits_for_a_server(name, tmp_path):
    (told,) = json.loads(without_routes(str(SCRIPT), str(tmp_path), name).splitlines()[-1]).values()
    assert told["reached"] == []
    assert told["seconds"] < MOST_SECONDS


def test_the_namespace_has_no_way_out_and_the_watch_sees_a_try():
    """Without this the test above could be green because nothing was watched."""
    code = (
        f"import sys; sys.path.insert(0, {str(SCRIPT.parent)!r})\n"
        "import offline_face, socket, contextlib\n"
        "sys.addaudithook(offline_face.watch)\n"
        "for host in ('127.0.0.1', '1.1.1.1'):\n"
        "    with contextlib.suppress(OSError):\n"
        "        socket.create_connection((host, 80), 5).close()\n"
        "        print('connected')\n"
        "print(len(offline_face.reached))\n"
    )
    assert without_routes("-c", code).split() == ["4"]
