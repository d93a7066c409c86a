"""What a run waits for where there is no network: a preflight and a heal of Wan 2.2.

    python benchmarks/no_route.py [RUNS]

Each in a network namespace of its own (unshare(1), Linux), in two situations:

- *no route*: there is loopback alone. The system refuses each connection at once.
- *a route into nothing*: a default route through a device that drops all packets (ip(8)), as
  behind a firewall that drops. Nobody refuses; only deadlines end the waiting.

Measured over RUNS runs (3): wall time of ``pytest checks/ --stage=preflight`` and of the same with
``--heal``. Bar for the first: the limits of one server's stages, one after the other (name,
connection, TLS, answer); servers wait together. For the second: once more for each of the two
repairs that ask servers, and once more for the closing pass. Source: ``modelmedic.limits``.

Checked in each run: the network has exactly one root cause, and the checks that wait on it are
blocked. Exit code 1 when a bar is missed or that does not hold.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from measuring import CHECKOUT, PYTEST, cost_of, line, own_environment

sys.path.insert(0, str(CHECKOUT / "src"))

from modelmedic.limits import TimeoutManager

STAGES = ("dns_lookup", "tcp_connect", "tls_handshake", "http_request")
BAR_SECONDS = float(sum(TimeoutManager().get_timeout(name) for name in STAGES))
HEAL_BAR_SECONDS = 4 * BAR_SECONDS
# A pair of devices whose far end belongs to nobody; 198.51.100.0/24 is kept for documentation.
DROPS = (
    "ip link set lo up && ip link add near type veth peer name far && "
    "ip addr add 198.51.100.2/24 dev near && ip link set near up && ip link set far up && "
    "ip route add default via 198.51.100.1 && "
    "ip neigh add 198.51.100.1 lladdr 02:00:00:00:00:01 dev near && "
)
SITUATIONS = {"no route": "", "a route into nothing": DROPS}


def main() -> int:
    """Print the figures; return 1 when a bar is missed or there is not one cause."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    if not shutil.which("unshare"):
        raise SystemExit("These figures need unshare(1) of Linux.")
    is_met = True
    print(f"Python {sys.version.split()[0]}, {runs} runs each")
    for situation, setup in SITUATIONS.items():
        if not _can_be(setup):
            print(f"{situation}: no such namespace can be made here")
            continue
        for name, bar, options in (
            ("preflight", BAR_SECONDS, ()),
            ("preflight --heal", HEAL_BAR_SECONDS, ("--heal",)),
        ):
            walls, causes = [], []
            for _ in range(runs):
                wall, cause = _run(setup, options)
                walls.append(wall)
                causes.append(cause)
            print(line(f"{situation}: {name}, wall time", walls, bar))
            told = {cause for cause, _waiting in causes}
            waiting = {count for _cause, count in causes}
            print(f"    network: {', '.join(sorted(told))}; checks that wait on it: {waiting}")
            is_met = is_met and max(walls) <= bar and all(";" not in cause for cause in told)
    return 0 if is_met else 1


def _can_be(setup: str) -> bool:
    done = subprocess.run(
        ["unshare", "-rn", "sh", "-c", f"{setup}true"], capture_output=True, check=False
    )
    return done.returncode == 0


def _run(setup: str, options: tuple[str, ...]) -> tuple[float, tuple[str, int]]:
    """Run once; return the wall time, and the network's root cause with how many wait on it."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        work = place / "work"
        work.mkdir()
        argv = [
            *PYTEST, "-c", str(CHECKOUT / "pyproject.toml"), f"--rootdir={CHECKOUT}",
            str(CHECKOUT / "checks"), "--profile=wan2.2-ti2v-5b", "--stage=preflight",
            f"--report-dir={place / 'report'}", *options,
        ]  # fmt: skip
        inside = ["unshare", "-rn", "sh", "-c", f'{setup}exec "$@"', "sh", *argv]
        cost = cost_of(inside, env=own_environment(place / "home"), cwd=work)
        try:
            record = json.loads((place / "report" / "report.json").read_text(encoding="utf-8"))
        except OSError:
            raise SystemExit(f"The run ended with {cost.code}:\n{cost.output}") from None
    return cost.wall_seconds, _cause(record)


def _cause(record: dict) -> tuple[str, int]:
    """Return what of the network fails by itself ("; " between several) and what waits on it."""
    network = [each for each in record["findings"] if each["area"] == "network"]
    roots = [each["check"] for each in network if each["outcome"] in {"failed", "unknown"}]
    blocked = [each for each in network if each["outcome"] == "blocked"]
    if not roots or any(each["blocked_by"] not in roots for each in blocked):
        return "; nothing named", len(blocked)
    return "; ".join(roots), len(blocked)


if __name__ == "__main__":
    raise SystemExit(main())
