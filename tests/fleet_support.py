"""Histories of many machines, made from a seed: who is sick of what, and what truly separates them."""

from __future__ import annotations

import hashlib
import json
import os
import random
import sqlite3
from dataclasses import dataclass, field
from pathlib import Path

from modelmedic.history.schema import MIGRATIONS

DAY = 86_400.0
NOW = 1_790_000_000.0  # 2026-09-21, a Monday
CHECKS = (
    ("system.memory", "The machine has enough memory.", "system"),
    ("system.disk", "The disk has room for the model.", "disk"),
    ("gpu.driver", "The driver can run the CUDA of this PyTorch.", "hardware"),
    ("gpu.visible", "The GPU is visible to the target Python.", "hardware"),
    ("packages.flash_attn", "flash-attn fits this PyTorch.", "packages"),
    ("packages.torch", "PyTorch can be imported.", "packages"),
    ("weights.size[high_noise/model-1.safetensors]", "Each weight file is whole.", "weights"),
    ("weights.size[low_noise/model-1.safetensors]", "Each weight file is whole.", "weights"),
    ("weights.hash[vae.pth]", "Each weight file has the bytes of its maker.", "weights"),
    ("network.hub", "The model hub can be reached.", "network"),
)
SLOW = {"weights.hash": 40.0, "packages.torch": 4.0, "network.hub": 0.8}


@dataclass
class Fact:
    """What a machine is made of."""

    system: str = "Linux 6.1 x86_64"
    python: str = "3.11"
    driver: str = "550.54.15"
    gpus: tuple[str, ...] = ("NVIDIA GeForce RTX 4090",)
    memory_gib: int = 64
    packages: dict[str, str] = field(default_factory=dict)
    files: dict[str, int] = field(default_factory=dict)


class Book:
    """A history that is written row by row, as the tables' contract says."""

    def __init__(self, path: Path | str = ":memory:") -> None:
        if path != ":memory:":
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))  # as the history wants it
        self.connection = sqlite3.connect(path, isolation_level=None)
        self.connection.row_factory = sqlite3.Row
        for text in MIGRATIONS:
            self.connection.executescript(text)
        self.connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
        self.connection.execute("PRAGMA synchronous = OFF")
        self._checks: dict[str, int] = {}
        self._runs = 0
        self._latest: dict[tuple[int, int], tuple[int, str, float, int]] = {}

    def machine(self, name: str, *, label: str = "", is_own: bool = False) -> int:
        return self._insert(
            "machine", name=name, is_own=int(is_own), label=label, first_seen=0, last_seen=0
        )

    def install(
        self, machine: int, folder: str = "~/Wan2.2", profile: str = "wan2.2-t2v-a14b"
    ) -> int:
        return self._insert("install", machine_id=machine, folder=folder, profile=profile)

    def environment(self, fact: Fact) -> str:
        values = {
            "system": fact.system, "python": fact.python, "driver": fact.driver,
            "gpus": json.dumps(fact.gpus), "memory_bytes": fact.memory_gib << 30,
            "packages": json.dumps(fact.packages), "files": json.dumps(fact.files),
        }  # fmt: skip
        digest = hashlib.sha256(json.dumps(values).encode()).hexdigest()[:32]
        self._insert("environment", "OR IGNORE", hash=digest, **values)
        return digest

    def check(self, name: str, title: str = "", area: str = "system") -> int:
        if name not in self._checks:
            self._checks[name] = self._insert(
                "check_name", name=name, title=title or f"{name} holds.", area=area
            )
        return self._checks[name]

    def run(self, machine, install, at, findings, *, environment=None, exit_code="", seconds=60.0):
        """Store one run. ``findings``: (check, outcome, values of the row) in any number."""
        self._runs += 1
        counts: dict[str, int] = {}
        for _check, outcome, _values in findings:
            counts[outcome] = counts.get(outcome, 0) + 1
        bad = counts.get("failed", 0) + counts.get("unknown", 0)
        number = self._insert(
            "run", machine_id=machine, install_id=install, run_id=f"20260101-120000-{self._runs:06x}",
            started_at=at, seconds=seconds, mode="check", stage="installed",
            exit_code=int(bad > 0) if exit_code == "" else exit_code, modelmedic="0.1.0",
            environment=environment, counts=json.dumps(counts), root_causes="[]", record_sha256="",
        )  # fmt: skip
        rows = []
        for name, outcome, values in findings:
            check = self.check(name)
            rows.append((number, check, outcome, values.get("severity", "blocker"), None,
                         values.get("failure_id"), values.get("seconds"), values.get("what"),
                         values.get("why"), None))  # fmt: skip
            self._judge(install, check, number, outcome, at)
        self.connection.executemany("INSERT INTO finding VALUES (?,?,?,?,?,?,?,?,?,?)", rows)
        self.connection.execute(
            "UPDATE machine SET last_seen = max(last_seen, ?) WHERE id = ?", (at, machine)
        )
        return number

    def heal(self, machine: int, at: float, recovery: str, verdict: str, seconds=3.0, fetched=0):
        self._runs += 1
        self._insert(
            "heal", machine_id=machine, repair=f"R{self._runs}", origin="log", at=at, recovery=recovery,
            family="files", category="corruption", system="Linux", machine="x86_64", check_name="x",
            verdict=verdict, seconds=seconds, fetched_bytes=fetched,
        )  # fmt: skip

    def close(self) -> sqlite3.Connection:
        """Write the newest findings, and return the connection."""
        self.connection.executemany(
            "INSERT OR REPLACE INTO latest_finding VALUES (?, ?, ?, ?, ?, ?)",
            [(*key, *value) for key, value in self._latest.items()],
        )
        return self.connection

    def _judge(self, install: int, check: int, run: int, outcome: str, at: float) -> None:
        old = self._latest.get((install, check))
        if outcome in {"skipped", "blocked"}:
            return
        is_same = old is not None and old[1] == outcome
        since = old[2] if old and is_same else at
        flaps = (old[3] + (not is_same)) if old else 0
        self._latest[install, check] = (run, outcome, since, flaps)

    def _insert(self, table: str, how: str = "", **values) -> int:
        names, marks = ", ".join(values), ", ".join("?" * len(values))
        query = f"INSERT {how} INTO {table} ({names}) VALUES ({marks})"
        return self.connection.execute(query, list(values.values())).lastrowid or 0


def a_fact(random_: random.Random) -> Fact:
    """Return a machine as one meets them; nothing in it hangs on anything else."""
    packages = {f"lib{n}": f"{random_.randint(1, 3)}.{random_.randint(0, 4)}.0" for n in range(25)}
    packages |= {
        "torch": random_.choice(["2.4.0+cu121", "2.4.1+cu121", "2.5.1+cu124"]),
        "flash-attn": random_.choice(["2.5.8", "2.6.3", "2.7.4", "2.7.4"]),
        "diffusers": random_.choice(["0.31.0", "0.32.2", "0.33.1"]),
        "transformers": random_.choice(["4.46.3", "4.49.0"]),
    }
    return Fact(
        system=random_.choice(["Linux 6.1 x86_64", "Linux 6.8 x86_64", "Windows 10.0 AMD64"]),
        python=random_.choice(["3.10", "3.11", "3.12"]),
        driver=random_.choice(["535.183.01", "550.54.15", "550.120", "560.35.03"]),
        gpus=(
            random_.choice(["NVIDIA GeForce RTX 4090", "NVIDIA GeForce RTX 3090", "NVIDIA L40S"]),
        ),
        memory_gib=random_.choice([16, 32, 64, 64, 128]),
        packages=packages,
        files={"vae.pth": 507_609_880, "high_noise/model-1.safetensors": 9_989_160_536},
    )


def one_run_each(random_: random.Random, count: int, is_sick, fact_of=a_fact) -> sqlite3.Connection:
    """Return machines with one run each; ``is_sick(fact)`` makes x.one fail."""
    book = Book()
    for number in range(count):
        machine, fact = book.machine(f"machine:{number:010x}"), fact_of(random_)
        findings = [("x.one", "failed" if is_sick(fact) else "passed", {}), ("x.two", "passed", {})]
        book.run(machine, book.install(machine), NOW, findings, environment=book.environment(fact))
    return book.close()


def a_fleet(
    path: Path | str = ":memory:", *, machines=40, days=30, seed=22, now=NOW
) -> sqlite3.Connection:
    """Return a fleet with three causes and one silent machine.

    Driver 535 makes gpu.driver fail, flash-attn 2.5.8 makes packages.flash_attn fail, and a full
    disk comes to some by chance alone. The second machine stopped reporting 12 days ago.
    """
    random_ = random.Random(seed)
    book = Book(path)
    book.connection.execute("BEGIN")
    for name, title, area in CHECKS:
        book.check(name, title, area)
    for number in range(machines):
        name = f"machine:{random_.getrandbits(40):010x}"
        machine = book.machine(name, label=f"render-{number:02d}", is_own=number == 0)
        _life(book, machine, random_, days, now - (12 * DAY if number == 1 else 0))
    for number in range(60):
        recovery = random_.choice(["refetch_partial_shard", "set_distributions", "free_disk"])
        chance = {"refetch_partial_shard": 0.95, "set_distributions": 0.7, "free_disk": 0.3}[
            recovery
        ]
        verdict = "healed" if random_.random() < chance else "not healed"
        at = now - random_.random() * days * DAY
        book.heal(1 + number % machines, at, recovery, verdict, random_.uniform(1, 90), 1 << 24)
    _minutes(book, 1, now)
    book.connection.execute("COMMIT")
    return book.close()


def _life(book: Book, machine: int, random_: random.Random, days: int, last: float) -> None:
    install, fact = book.install(machine), a_fact(random_)
    full_from, healed_at = random_.randint(0, 4 * days), random_.randint(0, days)
    older = Fact(**{**vars(fact), "packages": {**fact.packages, "flash-attn": "2.4.2"}})
    for day in range(days, 0, -1):
        if random_.random() < 0.1:
            continue
        at = last - day * DAY + random_.uniform(0, 7200) + DAY
        age = days - day
        now = older if age < days // 3 else fact
        wrong = _wrong(now, is_full=full_from < age, healed=age > healed_at, random_=random_)
        findings = []
        for name, _title, _area in CHECKS:
            base = name.partition("[")[0]
            took = SLOW.get(base, 0.02) * random_.uniform(0.8, 1.3)
            if base == "packages.torch" and age > days * 3 // 4:
                took *= 2.2
            values = {"seconds": took, **wrong.get(base, {})}
            findings.append((name, "failed" if base in wrong else "passed", values))
        book.run(machine, install, min(at, last), findings, environment=book.environment(now),
                 seconds=random_.uniform(30, 90))  # fmt: skip


def _wrong(fact: Fact, *, is_full: bool, healed: bool, random_: random.Random) -> dict[str, dict]:
    found = {}
    if fact.driver.startswith("535"):
        found["gpu.driver"] = {
            "failure_id": "driver-too-old", "what": f"Driver {fact.driver} is too old: this PyTorch needs 550.",
            "why": "CUDA 12.4 needs a driver of the 550 series.",
        }  # fmt: skip
    if fact.packages["flash-attn"] == "2.5.8" and random_.random() < 0.97:
        found["packages.flash_attn"] = {
            "failure_id": "flash-attn-abi-mismatch", "severity": "major",
            "what": "flash-attn 2.5.8 was built for another PyTorch.", "why": "An undefined symbol.",
        }  # fmt: skip
    if is_full:
        found["system.disk"] = {
            "failure_id": "no-space-on-model-disk", "what": "1.2 GiB are free, 40.0 GiB are needed.",
            "why": "The disk is shared with outputs.",
        }  # fmt: skip
    return found


def _minutes(book: Book, machine: int, now: float) -> None:
    first = int(now // 60) * 60 - 24 * 3600
    rows = []
    for minute in range(24 * 60):
        at = first + 60 * minute
        used = 20e9 + 4e9 * ((minute // 90) % 3) + 1e8 * (minute % 7)
        free = 400e9 - 1e8 * minute
        rows.append((machine, "memory.used_bytes", at, used, used, used, used, 60))
        rows.append((machine, "disk.free_bytes[/models]", at, free, free, free, free, 60))
    book.connection.executemany("INSERT INTO minute VALUES (?,?,?,?,?,?,?,?)", rows)
    book.connection.execute(
        "INSERT INTO alert (machine_id, key, severity, first_at, last_at, times, text, command) "
        "VALUES (?, 'disk_full[/models]', 'major', ?, ?, 4, 'The disk /models will be full in 2 days.', "
        "'modelmedic check -k disk')",
        (machine, now - 3600, now - 60),
    )
