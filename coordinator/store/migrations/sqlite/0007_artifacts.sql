-- The weights of jobs that are done: at most one file a job.
CREATE TABLE artifacts (
    sweep_id INTEGER NOT NULL,
    job      INTEGER NOT NULL,
    attempt  INTEGER NOT NULL,
    -- awaited (on their way), kept, dropped (better ones came), absent (there are none).
    state    TEXT    NOT NULL,
    worker   TEXT    NOT NULL,
    bytes    INTEGER NOT NULL,
    blake3   TEXT    NOT NULL,
    -- The metric that ranks the job.
    value    REAL    NOT NULL,
    reason   TEXT    NOT NULL DEFAULT '',
    checksum INTEGER NOT NULL,
    PRIMARY KEY (sweep_id, job),
    FOREIGN KEY (sweep_id, job) REFERENCES jobs (sweep_id, job)
) STRICT, WITHOUT ROWID;

CREATE INDEX artifacts_by_state ON artifacts (sweep_id, state);
