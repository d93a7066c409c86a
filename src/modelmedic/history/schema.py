"""The tables of the history. Moments are seconds since the epoch, UTC; texts are masked.

Each text below is one migration: `PRAGMA user_version` says how many a file has had. A text that
has been released is never changed; what is new is a new one.
"""

from __future__ import annotations

_FIRST = """
CREATE TABLE machine (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,       -- pseudonym "machine:1f..." of a run record; no host name
    is_own INTEGER NOT NULL DEFAULT 0,
    label TEXT NOT NULL DEFAULT '',  -- what an administrator calls it; never leaves this file
    first_seen REAL NOT NULL,        -- start of its oldest run
    last_seen REAL NOT NULL          -- start of its newest run
);
CREATE TABLE install (
    id INTEGER PRIMARY KEY,
    machine_id INTEGER NOT NULL REFERENCES machine (id) ON DELETE CASCADE,
    folder TEXT NOT NULL,            -- '' when a run had none
    profile TEXT NOT NULL,
    UNIQUE (machine_id, folder, profile)
);
CREATE TABLE environment (           -- a snapshot, once for each hash
    hash TEXT PRIMARY KEY,
    system TEXT NOT NULL,            -- "Linux 6.1 x86_64"
    python TEXT NOT NULL,            -- of the target; '' when there is none
    driver TEXT NOT NULL,            -- NVIDIA's; ''
    gpus TEXT NOT NULL,              -- JSON: list of names
    memory_bytes INTEGER,
    packages TEXT NOT NULL,          -- JSON: {name: version} of the target
    files TEXT NOT NULL              -- JSON: {path in the install: bytes} of the profile's files
) WITHOUT ROWID;
CREATE TABLE run (
    id INTEGER PRIMARY KEY,
    machine_id INTEGER NOT NULL REFERENCES machine (id) ON DELETE CASCADE,
    install_id INTEGER NOT NULL REFERENCES install (id) ON DELETE CASCADE,
    run_id TEXT NOT NULL,
    started_at REAL NOT NULL,
    seconds REAL NOT NULL,
    mode TEXT NOT NULL,
    stage TEXT NOT NULL,
    exit_code INTEGER,               -- NULL: the run was killed
    modelmedic TEXT NOT NULL,
    environment TEXT REFERENCES environment (hash),
    counts TEXT NOT NULL,            -- JSON: {outcome: number}
    root_causes TEXT NOT NULL,       -- JSON: as in the run record
    record_sha256 TEXT NOT NULL,     -- of the record as it was stored
    UNIQUE (machine_id, run_id)
);
CREATE INDEX run_by_install ON run (install_id, started_at);
CREATE INDEX run_by_start ON run (started_at);
CREATE TABLE check_name (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,       -- "weights.size[vae.pth]"
    title TEXT NOT NULL,
    area TEXT NOT NULL
);
CREATE TABLE finding (
    run INTEGER NOT NULL REFERENCES run (id) ON DELETE CASCADE,
    check_id INTEGER NOT NULL REFERENCES check_name (id),
    outcome TEXT NOT NULL,
    severity TEXT NOT NULL,
    category TEXT,
    failure_id TEXT,
    seconds REAL,                    -- NULL: not measured
    what TEXT,                       -- NULL where the check passed or was skipped
    why TEXT,
    blocked_by TEXT,
    PRIMARY KEY (run, check_id)
) WITHOUT ROWID;
CREATE INDEX finding_wrong ON finding (check_id, run)
    WHERE outcome IN ('failed', 'unknown');
CREATE INDEX finding_repaired ON finding (check_id, run)
    WHERE outcome IN ('healed', 'degraded');
CREATE TABLE latest_finding (        -- of the newest run of each install that judged the check
    install_id INTEGER NOT NULL REFERENCES install (id) ON DELETE CASCADE,
    check_id INTEGER NOT NULL REFERENCES check_name (id),
    run INTEGER NOT NULL REFERENCES run (id) ON DELETE CASCADE,
    outcome TEXT NOT NULL,
    since REAL NOT NULL,             -- start of the first run of the unbroken row of this outcome
    flaps INTEGER NOT NULL DEFAULT 0,  -- how often the outcome changed so far
    PRIMARY KEY (install_id, check_id)
) WITHOUT ROWID;
CREATE INDEX latest_wrong ON latest_finding (check_id, install_id)
    WHERE outcome IN ('failed', 'unknown');
CREATE TABLE heal (                  -- judged repairs; see origin
    machine_id INTEGER NOT NULL REFERENCES machine (id) ON DELETE CASCADE,
    repair TEXT NOT NULL,            -- number of the repair in its journal, or RUN/CHECK/N
    origin TEXT NOT NULL,            -- 'log': the effectiveness log here; 'record': a run record
    at REAL NOT NULL,
    recovery TEXT NOT NULL,
    family TEXT NOT NULL,
    category TEXT NOT NULL,
    system TEXT NOT NULL,
    machine TEXT NOT NULL,           -- "x86_64"
    check_name TEXT NOT NULL,        -- without its parameter
    verdict TEXT NOT NULL,           -- 'healed', 'not healed', 'failed'
    seconds REAL NOT NULL,
    fetched_bytes INTEGER NOT NULL,
    PRIMARY KEY (machine_id, repair)
) WITHOUT ROWID;
CREATE TABLE minute (                -- what the monitor saw in one minute
    machine_id INTEGER NOT NULL REFERENCES machine (id) ON DELETE CASCADE,
    series TEXT NOT NULL,            -- "memory.used_bytes", "disk.free_bytes[/models]"
    at INTEGER NOT NULL,             -- start of the minute
    least REAL NOT NULL,
    mean REAL NOT NULL,
    most REAL NOT NULL,
    last REAL NOT NULL,
    samples INTEGER NOT NULL,
    PRIMARY KEY (machine_id, series, at)
) WITHOUT ROWID;
CREATE TABLE component_metric (      -- counts of an installer's components, as it told them
    machine_id INTEGER NOT NULL REFERENCES machine (id) ON DELETE CASCADE,
    at REAL NOT NULL,
    component TEXT NOT NULL,
    operation TEXT NOT NULL,
    calls INTEGER NOT NULL,
    failures INTEGER NOT NULL,
    retries INTEGER NOT NULL,
    median_seconds REAL,
    p99_seconds REAL,
    PRIMARY KEY (machine_id, at, component, operation)
) WITHOUT ROWID;
CREATE TABLE alert (
    id INTEGER PRIMARY KEY,
    machine_id INTEGER NOT NULL REFERENCES machine (id) ON DELETE CASCADE,
    key TEXT NOT NULL,               -- what makes two alerts one: "disk_full[/models]"
    severity TEXT NOT NULL,
    first_at REAL NOT NULL,
    last_at REAL NOT NULL,
    ended_at REAL,                   -- NULL: it still holds
    times INTEGER NOT NULL,
    text TEXT NOT NULL,
    command TEXT NOT NULL
);
CREATE INDEX alert_by_key ON alert (machine_id, key, last_at);
"""

_SECOND = """
ALTER TABLE run ADD COLUMN is_partial INTEGER NOT NULL DEFAULT 0;  -- some checks were left out
CREATE TABLE upkeep (
    name TEXT PRIMARY KEY,           -- "retention"
    at REAL NOT NULL                 -- when it was done last
) WITHOUT ROWID;
"""

MIGRATIONS = (_FIRST, _SECOND)
