"""How well masking tells secrets from other text: on planted secrets, and on text without any.

    python benchmarks/masking_quality.py [--lines N] [--json]

Three figures, for the masker of reports, the one of the support bundle, and the second engine:

- *found*: of the planted corpus (tests/planted), each text by itself.
- *false*: lines changed of 100,000 that hold no secret, by the rule that changed them. The lines:
  our own sources and documents, and metadata, licences and sources of the installed packages.
- *speed*: megabytes a second over these lines, each by itself (as a report is masked).

Bars: every planted secret is found by the masker; at most 200 of 100,000 clean lines are changed by
Bars: every planted secret is found by the masker; at most 200 of 100,000 clean lines are changed by
read, and two in a thousand leave the rest.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import sysconfig
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
LINES = 100_000
BAR_FALSE = 200
_SHOWN = 12
_PATTERNS = ("*.py", "*.md", "*.txt", "METADATA", "LICENSE*", "*.toml", "*.json", "*.log")
# What is in these was written as a secret: they are the tests of the masker.
_OURS_NOT = ("planted", "test_masking", "test_leaks", "test_error_privacy", "masking", "leaks")


def main() -> int:
    """Print the figures; return 1 when a bar is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--lines", type=int, default=LINES)
    parser.add_argument("--json", action="store_true", help="print all figures as JSON")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        engines, rules = _engines(Path(folder))
        lines = list(itertools.islice(_clean_lines(), options.lines))
        figures = {name: _figures(mask, lines) for name, mask in engines.items()}
        figures["masker"]["by rule"] = _by_rule(lines, engines["masker"], rules)
    print(json.dumps(figures, indent=1) if options.json else _told(figures, len(lines)))
    masker = figures["masker"]
    is_kept = masker["missed"] == [] and masker["changed in 100,000"] <= BAR_FALSE
    return 0 if is_kept else 1


def _engines(folder: Path) -> tuple[dict[str, Callable[[str], str]], Callable[[str], str]]:
    sys.path[:0] = [str(CHECKOUT / "src"), str(CHECKOUT / "tests")]
    from modelmedic import leaks
    from modelmedic.masking import Masker
    from modelmedic.masking.blocks import ENCODED
    from modelmedic.masking.identity import rules
    from modelmedic.masking.stand_ins import plain_word
    from modelmedic.masking.table import RULES

    known = leaks.Known()
    stand_ins = Masker.for_support(folder).stand_ins
    table = (*RULES, *rules(plain_word), ENCODED)

    def rule_of(line: str) -> str:
        return next((rule.name for rule in table if rule.apply(line) != line), "known by its key")

    return {
        "masker": Masker().mask,
        "masker for support": Masker(stand_ins=stand_ins).mask,
        "second engine": lambda text: leaks.without(text, known),
    }, rule_of


def _figures(mask: Callable[[str], str], lines: list[str]) -> dict[str, object]:
    from planted.corpus import planted

    corpus = planted()
    missed = [
        one.id
        for one in corpus
        if any(needle[-10:] in masked for masked in [mask(one.text)] for needle in one.needles)
    ]
    begun = time.process_time()
    changed = sum(mask(line) != line for line in lines)
    seconds = time.process_time() - begun
    return {
        "planted": len(corpus),
        "found": len(corpus) - len(missed),
        "missed": missed,
        "changed in 100,000": round(changed / len(lines) * 100_000, 1),
        "MB a second": round(sum(map(len, lines)) / 1e6 / seconds, 2),
    }


def _by_rule(
    lines: list[str], mask: Callable[[str], str], rule_of: Callable[[str], str]
) -> dict[str, int]:
    return dict(Counter(rule_of(line) for line in lines if mask(line) != line).most_common())


def _clean_lines() -> Iterator[str]:
    """Yield lines of text that holds no secret: ours in turn with those of installed packages."""
    packages = Path(sysconfig.get_paths()["purelib"])
    for ours, theirs in itertools.zip_longest(_lines(CHECKOUT), _lines(packages)):
        yield from (line for line in (ours, theirs) if line is not None)


def _lines(folder: Path) -> Iterator[str]:
    paths = sorted(path for pattern in _PATTERNS for path in folder.rglob(pattern))
    for path in paths:
        inside = path.relative_to(folder).parts
        if ".venv" in inside or any(word in part for word in _OURS_NOT for part in inside):
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, ValueError):
            continue
        yield from (line for line in text.splitlines() if line.strip())


def _told(figures: dict[str, dict[str, object]], lines: int) -> str:
    told = [f"{lines:,} clean lines"]
    for name, found in figures.items():
        told.append(
            f"{name}: {found['found']} of {found['planted']} planted secrets found, "
            f"{found['changed in 100,000']} of 100,000 clean lines changed, "
            f"{found['MB a second']} MB/s"
        )
    by_rule = figures["masker"]["by rule"]
    if isinstance(by_rule, dict):
        told += [f"  {count:6} {rule}" for rule, count in list(by_rule.items())[:_SHOWN]]
    return "\n".join(told)


if __name__ == "__main__":
    raise SystemExit(main())
