-- The weights of jobs that are done: at most one file a job.
CREATE TABLE artifacts (
    sweep_id BIGINT NOT NULL,
    job      BIGINT NOT NULL,
    attempt  BIGINT NOT NULL,
    -- awaited (on their way), kept, dropped (better ones came), absent (there are none).
    state    TEXT   NOT NULL,
    worker   TEXT   NOT NULL,
    bytes    BIGINT NOT NULL,
    blake3   TEXT   NOT NULL,
    -- The metric that ranks the job.
    value    DOUBLE PRECISION NOT NULL,
    reason   TEXT   NOT NULL DEFAULT '',
    checksum BIGINT NOT NULL,
    PRIMARY KEY (sweep_id, job),
    FOREIGN KEY (sweep_id, job) REFERENCES jobs (sweep_id, job)
);

CREATE INDEX artifacts_by_state ON artifacts (sweep_id, state);
