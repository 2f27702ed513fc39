-- Times are milliseconds since 1970-01-01 UTC. Jobs that never had an attempt have no row.

CREATE TABLE sweeps (
    sweep_id        INTEGER PRIMARY KEY,
    name            TEXT    NOT NULL,
    request_id      TEXT    UNIQUE,
    specification   TEXT    NOT NULL,
    metric          TEXT    NOT NULL,
    goal            TEXT    NOT NULL,
    job_count       INTEGER NOT NULL,
    state           TEXT    NOT NULL,
    dataset         TEXT,
    created_unix_ms INTEGER NOT NULL,
    ended_unix_ms   INTEGER
) STRICT;

CREATE TABLE jobs (
    sweep_id      INTEGER NOT NULL REFERENCES sweeps (sweep_id),
    job           INTEGER NOT NULL,
    state         TEXT    NOT NULL,
    -- The number of the last attempt; attempts count from 1 without a gap.
    attempts      INTEGER NOT NULL,
    failures      INTEGER NOT NULL DEFAULT 0,
    losses        INTEGER NOT NULL DEFAULT 0,
    worker        TEXT    NOT NULL,
    reason        TEXT    NOT NULL DEFAULT '',
    -- Of the epochs that count.
    epochs_done   INTEGER NOT NULL DEFAULT 0,
    train_seconds REAL    NOT NULL DEFAULT 0,
    train_loss    REAL,
    val_accuracy  REAL,
    PRIMARY KEY (sweep_id, job)
) STRICT, WITHOUT ROWID;

CREATE INDEX jobs_by_state ON jobs (sweep_id, state);

CREATE TABLE attempts (
    sweep_id        INTEGER NOT NULL,
    job             INTEGER NOT NULL,
    attempt         INTEGER NOT NULL,
    worker          TEXT    NOT NULL,
    slot            INTEGER NOT NULL,
    device          TEXT    NOT NULL,
    started         INTEGER NOT NULL DEFAULT 0,
    state           TEXT    NOT NULL,
    reason          TEXT    NOT NULL DEFAULT '',
    -- A JSON list of lines, oldest first.
    log_tail        TEXT    NOT NULL DEFAULT '[]',
    granted_unix_ms INTEGER NOT NULL,
    ended_unix_ms   INTEGER,
    PRIMARY KEY (sweep_id, job, attempt),
    FOREIGN KEY (sweep_id, job) REFERENCES jobs (sweep_id, job)
) STRICT, WITHOUT ROWID;

CREATE TABLE epochs (
    sweep_id      INTEGER NOT NULL,
    job           INTEGER NOT NULL,
    attempt       INTEGER NOT NULL,
    epoch         INTEGER NOT NULL,
    train_loss    REAL    NOT NULL,
    val_accuracy  REAL    NOT NULL,
    epoch_seconds REAL    NOT NULL,
    PRIMARY KEY (sweep_id, job, attempt, epoch),
    FOREIGN KEY (sweep_id, job, attempt) REFERENCES attempts (sweep_id, job, attempt)
) STRICT, WITHOUT ROWID;
