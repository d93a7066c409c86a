"""How often the cohort table is wrong, and how often it finds what is there.

    python benchmarks/cohort_discoveries.py [HISTORIES] [MACHINES] [SEED]

Random histories: each machine has 29 packages with versions, a driver, a GPU, a system, a Python,
and a size of memory, drawn without regard to anything else. Measured:

- without a separator (machines are sick by chance): the share of histories in which the table says
  that something separates them. Bar: at most the level, 5 %, and three standard errors.
- with one (flash-attn 2.5.8 makes nine of ten sick, of the others one in ten is sick): the mean
  share of false rows among those told, the same bar; and how often the true one is found first.
"""

from __future__ import annotations

import random
import sys

from measuring import CHECKOUT

sys.path.insert(0, str(CHECKOUT / "tests"))
sys.path.insert(0, str(CHECKOUT / "src"))

from fleet_support import Fact, one_run_each

from modelmedic.fleet import cohort, health, machines


def main() -> int:
    """Print the figures; return 1 when a bar is missed."""
    given = [int(text) for text in sys.argv[1:]]
    rounds, count, seed = (*given, *(400, 40, random.randrange(1 << 32))[len(given) :])
    random_ = random.Random(seed)
    print(f"seed {seed}: {rounds} histories of {count} machines, level {cohort.LEVEL}")
    most = cohort.LEVEL + 3 * (cohort.LEVEL * (1 - cohort.LEVEL) / rounds) ** 0.5
    told = [told_of(random_, count, lambda _fact: random_.random() < 0.4) for _ in range(rounds)]
    false = sum(map(bool, told)) / rounds
    print(f"without a separator: {false:.3f} of them are said to have one (bar {most:.3f})")

    def is_sick(fact: Fact) -> bool:
        return random_.random() < (0.9 if fact.packages["flash-attn"] == "2.5.8" else 0.1)

    told = [told_of(random_, count, is_sick) for _ in range(rounds)]
    wrong = [sum(not name.startswith("flash-attn") for name in names) for names in told]
    share = sum(bad / max(len(names), 1) for bad, names in zip(wrong, told, strict=True)) / rounds
    first = sum(names[:1] == ["flash-attn 2.5.8"] for names in told) / rounds
    print(
        f"with one: {share:.3f} of the rows are false (bar {most:.3f}); found first in {first:.3f}"
    )
    return int(max(false, share) > most)


def told_of(random_: random.Random, count: int, is_sick) -> list[str]:  # noqa: ANN001
    """Return what is said to separate the sick of one random history."""
    connection = one_run_each(random_, count, is_sick)
    known = machines.read(connection)
    groups = cohort.contrasts(connection, known, health.of_all(connection, known))
    connection.close()
    return [each.feature for group in groups for each in group.separators]


if __name__ == "__main__":
    sys.exit(main())
