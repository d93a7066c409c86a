"""What `modelmedic scan` costs and how far it can be trusted, on code that many people keep well.

    python benchmarks/scan_code.py [RUNS] [SEED]

Printed, for the packages below as they lie in this environment and for our own sources:

- processor time of the scan, in a fresh process, for all of their lines; and of the peer in the
  same run, `ast.parse` of the same files, which any reader of the syntax pays at least once;
- by how much the process grew;
- every finding: such code runs every day, so a finding in it is most often a false one;
- how many of the faults that are planted on its lines are found: first on the shelf of specimens
  of the tests, then in the packages, where a copy has one in twenty method calls on self and one
  in five builtin names of except clauses misspelled (random, by the seed).

Bars: 20 s and 300 MiB for 100,000 lines, one finding in 100,000 lines.
"""

from __future__ import annotations

import ast
import importlib.util
import json
import random
import shutil
import sys
import tempfile
from pathlib import Path

from measuring import CHECKOUT, cost_of, line, own_environment

sys.path[:0] = [str(CHECKOUT / "src"), str(CHECKOUT / "tests")]

from scan_support import found_in, lay_out, specimens  # noqa: E402

from modelmedic.scan import scan  # noqa: E402

PACKAGES = ("_pytest", "huggingface_hub", "jinja2", "pip", "requests", "rich", "urllib3")
RUNS = 3
BAR_SECONDS, BAR_MIB, BAR_FINDINGS = 20.0, 300.0, 1.0
ONE_CALL_IN, ONE_CLAUSE_IN = 20, 5
WORK = """
import json, sys, time, warnings
sys.path.insert(0, {source!r})
warnings.simplefilter("ignore")
{task}
print(json.dumps([time.process_time() - cpu, *told]))
"""
SCAN = """
from pathlib import Path
from modelmedic.scan import examine
def peak_bytes():
    import resource
    if sys.platform == "linux":
        text = Path("/proc/self/status").read_text()
        return int(text.partition("VmHWM:")[2].split()[0]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before, cpu = peak_bytes(), time.process_time()
found = examine(sys.argv[1:])
told = [found.lines, peak_bytes() - before, [str(each) for each in found.findings]]
"""
PEER = """
import ast
from pathlib import Path
files = [path for name in sys.argv[1:] for path in Path(name).rglob("*.py")]
cpu, told = time.process_time(), []
for path in files:
    ast.parse(path.read_bytes())
"""


def main() -> int:
    """Print the figures; return 1 when a bar is missed."""
    given = [int(text) for text in sys.argv[1:]]
    runs, seed = (*given, *(RUNS, 1)[len(given) :])
    places = [str(_folder(name)) for name in PACKAGES] + [str(CHECKOUT / "src/modelmedic")]
    scans = [_measured(SCAN, places) for _ in range(runs)]
    peers = [_measured(PEER, places) for _ in range(runs)]
    lines, grown, findings = scans[0][1], max(each[2] for each in scans) / 2**20, scans[0][3]
    share = 100_000 / lines
    print(f"Python {sys.version.split()[0]}, {', '.join(PACKAGES)} and our own: {lines:,} lines")
    seconds = [each[0] * share for each in scans]
    print(line("scan of 100,000 lines, processor time", seconds, BAR_SECONDS))
    print(line("peer: ast.parse of them, processor time", [each[0] * share for each in peers]))
    print(f"{lines / min(each[0] for each in scans):,.0f} lines a second; ", end="")
    print(
        f"ratio to ast.parse: {min(seconds) / (min(each[0] for each in peers) * share):.2f}; ",
        end="",
    )
    print(f"memory the scan added for all: {grown:.0f} MiB (bar {BAR_MIB:.0f} for 100,000 lines)")
    print(f"findings: {len(findings)}, {len(findings) * share:.2f} in 100,000 lines (bar 1)")
    print(*(f"  {each}" for each in findings), sep="\n")
    _print_recall(seed)
    is_missed = min(seconds) > BAR_SECONDS or grown * min(share, 1) > BAR_MIB
    return int(is_missed or len(findings) * share > BAR_FINDINGS)


def _folder(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise SystemExit(f"{name} is not installed here.")
    return Path(spec.origin).parent


def _measured(task: str, places: list[str]) -> list:
    code = WORK.format(source=str(CHECKOUT / "src"), task=task)
    with tempfile.TemporaryDirectory() as home:
        argv = [sys.executable, "-I", "-c", code, *places]
        cost = cost_of(argv, env=own_environment(Path(home)), cwd=Path(home))
    if cost.code:
        raise SystemExit(f"The measured process ended with {cost.code}:\n{cost.output}")
    return json.loads(cost.output)


def _print_recall(seed: int) -> None:
    planted = found = extra = 0
    for number, (_title, body) in enumerate(specimens()):
        with tempfile.TemporaryDirectory(prefix=f"specimen{number}-") as folder:
            expected = lay_out(Path(folder), body)
            seen = found_in(Path(folder))
        planted += expected.total()
        found += (expected & seen).total()
        extra += (seen - expected).total()
    print(f"on the shelf: {found} of {planted} faults found, {extra} more that are none")
    totals = {"methods": [0, 0], "clauses": [0, 0]}
    for name in PACKAGES:
        for kind, (hits, count) in _misspelled(name, random.Random(seed)).items():
            totals[kind][0] += hits
            totals[kind][1] += count
    for kind, words in (("methods", "method calls on self"), ("clauses", "except clauses")):
        hits, count = totals[kind]
        print(f"misspelled {words} (seed {seed}): {hits} of {count} found, {hits / count:.0%}")


def _misspelled(name: str, chance: random.Random) -> dict[str, tuple[int, int]]:
    """Return how many misspelled names of a package were found, and of how many."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, name)
        shutil.copytree(_folder(name), copy, ignore=shutil.ignore_patterns("__pycache__"))
        spoilt: dict[str, set[tuple[str, int]]] = {"methods": set(), "clauses": set()}
        for path in sorted(copy.rglob("*.py")):
            shown = path.relative_to(folder).as_posix()
            for kind, number in _spoil(path, chance):
                spoilt[kind].add((shown, number))
        seen = {(each.path, each.line) for each in scan([copy])}
    return {kind: (len(places & seen), len(places)) for kind, places in spoilt.items()}


def _spoil(path: Path, chance: random.Random) -> list[tuple[str, int]]:
    """Misspell some names of a file; return what kind on which lines."""
    text = path.read_text(encoding="utf-8")
    rows = [row.encode() for row in text.split("\n")]
    spots = [*_calls(ast.parse(text), chance), *_clauses(ast.parse(text), chance)]
    for _kind, number, column in sorted(spots, key=lambda spot: spot[1:], reverse=True):
        row = rows[number - 1]
        rows[number - 1] = row[:column] + b"qz" + row[column:]
    path.write_bytes(b"\n".join(rows))
    return [(kind, number) for kind, number, _column in spots]


def _calls(tree: ast.Module, chance: random.Random) -> list[tuple[str, int, int]]:
    """Return ends of names of methods that their own class defines."""
    spots = []
    for owner in ast.walk(tree):
        if not isinstance(owner, ast.ClassDef):
            continue
        names = {each.name for each in owner.body if isinstance(each, ast.FunctionDef)}
        for node in ast.walk(owner):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                is_self = isinstance(node.func.value, ast.Name) and node.func.value.id == "self"
                is_plain = not node.func.attr.startswith("__") and node.func.attr in names
                if is_self and is_plain and chance.random() < 1 / ONE_CALL_IN:
                    spots.append(("methods", node.func.end_lineno, node.func.end_col_offset))
    return list(dict.fromkeys(spots))


def _clauses(tree: ast.Module, chance: random.Random) -> list[tuple[str, int, int]]:
    return [
        ("clauses", node.type.end_lineno, node.type.end_col_offset)
        for node in ast.walk(tree)
        if isinstance(node, ast.ExceptHandler)
        and isinstance(node.type, ast.Name)
        and chance.random() < 1 / ONE_CLAUSE_IN
    ]


if __name__ == "__main__":
    raise SystemExit(main())
