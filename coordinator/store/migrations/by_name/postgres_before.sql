-- The tables whose metrics were columns step aside for those whose sweeps name them.
-- Servers before PostgreSQL 12 named a constraint by its first column alone.
ALTER TABLE attempts DROP CONSTRAINT IF EXISTS attempts_sweep_id_job_fkey;
ALTER TABLE attempts DROP CONSTRAINT IF EXISTS attempts_sweep_id_fkey;
ALTER TABLE artifacts DROP CONSTRAINT IF EXISTS artifacts_sweep_id_job_fkey;
ALTER TABLE artifacts DROP CONSTRAINT IF EXISTS artifacts_sweep_id_fkey;
ALTER TABLE jobs RENAME TO jobs_1;
ALTER TABLE jobs_1 RENAME CONSTRAINT jobs_pkey TO jobs_1_pkey;
ALTER TABLE epochs RENAME TO epochs_1;
ALTER TABLE epochs_1 RENAME CONSTRAINT epochs_pkey TO epochs_1_pkey;
DROP INDEX jobs_by_state;

CREATE TABLE jobs (
    sweep_id       BIGINT NOT NULL REFERENCES sweeps (sweep_id),
    job            BIGINT NOT NULL,
    state          TEXT NOT NULL,
    -- The number of the last attempt; attempts count from 1 without a gap.
    attempts       BIGINT NOT NULL,
    failures       BIGINT NOT NULL,
    losses         BIGINT NOT NULL,
    -- A JSON list of the workers that the job was lost with; empty where it was lost with none.
    lost_with      TEXT NOT NULL,
    worker         TEXT NOT NULL,
    reason         TEXT NOT NULL,
    -- Jobs that the last attempt was trained together with, itself included; nothing where it was alone.
    pack_size      BIGINT,
    -- Of the epochs that count.
    epochs_done    BIGINT NOT NULL,
    train_seconds  DOUBLE PRECISION NOT NULL,
    -- The sweep's metric at the last of them; nothing where it has no finite value.
    objective      DOUBLE PRECISION,
    -- All metrics of the last of them, as in `epochs`.
    metrics        BYTEA,
    -- The first of them with the best value of the sweep's metric. The next two columns are empty where it is the last.
    best_epoch     BIGINT,
    best_objective DOUBLE PRECISION,
    best_metrics   BYTEA,
    -- How far its attempts train, and what it had reached at the rungs, where a rule of early stopping says it.
    budget         BIGINT,
    rungs          TEXT,
    checksum       BIGINT NOT NULL,
    PRIMARY KEY (sweep_id, job)
);

CREATE TABLE epochs (
    sweep_id BIGINT NOT NULL,
    job      BIGINT NOT NULL,
    attempt  BIGINT NOT NULL,
    epoch    BIGINT NOT NULL,
    seconds  DOUBLE PRECISION NOT NULL,
    -- Eight bytes a metric, in the order of `metrics.place`: an IEEE 754 double, the most significant byte first.
    -- 7FF86D6973736E67 stands for a value that is missing; those missing at the end are left out. substr(metrics,
    -- 8 * place + 1, 8) has the bytes of a metric.
    metrics  BYTEA NOT NULL,
    checksum BIGINT NOT NULL,
    PRIMARY KEY (sweep_id, job, attempt, epoch),
    FOREIGN KEY (sweep_id, job, attempt) REFERENCES attempts (sweep_id, job, attempt)
);

-- An index that begins with the sweep looks as good as the primary key to a planner that knows nothing of a new table yet.
CREATE INDEX jobs_by_state ON jobs (state, sweep_id, job);
