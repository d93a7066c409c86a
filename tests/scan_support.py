"""The shelf of specimens for the scan: read, laid out as files, and what it finds in them.

A specimen begins with ``=== title``; ``--- path`` begins a file of it. A line that a rule must
find ends with a comment: the rule, then ``likely`` where that is the certainty.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from modelmedic.scan import scan

SHELF = Path(__file__).with_name("scan_shelf")
_RULE = re.compile(r"(scan\.[\w-]+)( likely)?")


def specimens():
    """Yield title and text of each specimen."""
    for shelf in sorted(SHELF.glob("*.txt")):
        for text in shelf.read_text(encoding="utf-8").split("=== ")[1:]:
            title, _, body = text.partition("\n")
            yield f"{shelf.stem}: {title}", body


def lay_out(folder, body):
    """Write the files of a specimen; return what is to be found: (path, line, rule, certainty)."""
    first, *named = re.split(r"(?m)^--- ", body)
    texts = {"specimen.py": first} if first.strip() else {}
    texts |= dict(each.split("\n", 1) for each in named)
    expected = Counter()
    for path, text in texts.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
        for number, line in enumerate(text.splitlines(), 1):
            for rule, likely in _RULE.findall(line.partition("#")[2]):
                expected[path, number, rule, "likely" if likely else "certain"] += 1
    return expected


def found_in(folder):
    place = folder.name + "/"
    return Counter(
        (each.path.partition(place)[2], each.line, each.rule, each.certainty)
        for each in scan([folder])
    )
