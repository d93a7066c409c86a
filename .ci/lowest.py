"""Print pip requirements for the lowest versions that pyproject.toml allows.

    python .ci/lowest.py            the run-time dependencies at their lower bounds
    python .ci/lowest.py --tools    the test tools of the ``dev`` group, as they are

Run with an interpreter that has ``packaging``, as every environment of ours does.
"""

from __future__ import annotations

import sys
from pathlib import Path

from packaging.requirements import Requirement

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

# What an installer of Wan 2.2 has beside us. transformers pins huggingface_hub below 1.0.
BESIDE = ("transformers==4.51.3",)
NOT_FOR_TESTS = ("mypy", "ruff", "types-")


def lowest(requirement: Requirement) -> str:
    """Return the requirement held at its lower bound, with any patch release of it.

    Raises:
        ValueError: It has no single lower bound.
    """
    bounds = [part.version for part in requirement.specifier if part.operator == ">="]
    if len(bounds) != 1:
        raise ValueError(f"{requirement} needs one lower bound")
    marker = f"; {requirement.marker}" if requirement.marker else ""
    exact = bounds[0] if bounds[0].count(".") > 1 else f"{bounds[0]}.*"
    return f"{requirement.name}=={exact}{marker}"


def main(arguments: list[str]) -> None:
    """Print one requirement a line."""
    text = Path(__file__).resolve().parents[1].joinpath("pyproject.toml").read_text("utf-8")
    project = tomllib.loads(text)
    if "--tools" in arguments:
        tools = project["dependency-groups"]["dev"]
        lines = [line for line in tools if not line.startswith(NOT_FOR_TESTS)]
    else:
        lines = [lowest(Requirement(line)) for line in project["project"]["dependencies"]]
        lines += BESIDE
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
