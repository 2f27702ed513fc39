-- The tables whose metrics were columns step aside for those whose sweeps name them.
ALTER TABLE jobs RENAME TO jobs_1;
ALTER TABLE epochs RENAME TO epochs_1;
DROP INDEX jobs_by_state;

CREATE TABLE jobs (
    sweep_id       INTEGER NOT NULL REFERENCES sweeps (sweep_id),
    job            INTEGER NOT NULL,
    state          TEXT NOT NULL,
    -- The number of the last attempt; attempts count from 1 without a gap.
    attempts       INTEGER NOT NULL,
    failures       INTEGER NOT NULL,
    losses         INTEGER NOT NULL,
    -- A JSON list of the workers that the job was lost with; empty where it was lost with none.
    lost_with      TEXT NOT NULL,
    worker         TEXT NOT NULL,
    reason         TEXT NOT NULL,
    -- Jobs that the last attempt was trained together with, itself included; nothing where it was alone.
    pack_size      INTEGER,
    -- Of the epochs that count.
    epochs_done    INTEGER NOT NULL,
    train_seconds  REAL NOT NULL,
    -- The sweep's metric at the last of them; nothing where it has no finite value.
    objective      REAL,
    -- All metrics of the last of them, as in `epochs`.
    metrics        BLOB,
    -- The first of them with the best value of the sweep's metric. The next two columns are empty where it is the last.
    best_epoch     INTEGER,
    best_objective REAL,
    best_metrics   BLOB,
    -- How far its attempts train, and what it had reached at the rungs, where a rule of early stopping says it.
    budget         INTEGER,
    rungs          TEXT,
    checksum       INTEGER NOT NULL,
    PRIMARY KEY (sweep_id, job)
) STRICT, WITHOUT ROWID;

CREATE TABLE epochs (
    sweep_id INTEGER NOT NULL,
    job      INTEGER NOT NULL,
    attempt  INTEGER NOT NULL,
    epoch    INTEGER NOT NULL,
    seconds  REAL NOT NULL,
    -- Eight bytes a metric, in the order of `metrics.place`: an IEEE 754 double, the most significant byte first.
    -- 7FF86D6973736E67 stands for a value that is missing; those missing at the end are left out. In the program
    -- `sqlite3`, ieee754_from_blob(substr(metrics, 8 * place + 1, 8)) is the value of a metric.
    metrics  BLOB NOT NULL,
    checksum INTEGER NOT NULL,
    PRIMARY KEY (sweep_id, job, attempt, epoch),
    FOREIGN KEY (sweep_id, job, attempt) REFERENCES attempts (sweep_id, job, attempt)
) STRICT, WITHOUT ROWID;

CREATE INDEX jobs_by_state ON jobs (sweep_id, state);
