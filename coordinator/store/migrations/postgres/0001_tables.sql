-- Times are milliseconds since 1970-01-01 UTC. Jobs that never had an attempt have no row. A checksum is of the row's other
-- columns.

CREATE TABLE sweeps (
    sweep_id        BIGINT PRIMARY KEY,
    name            TEXT   NOT NULL,
    request_id      TEXT   UNIQUE,
    specification   TEXT   NOT NULL,
    metric          TEXT   NOT NULL,
    goal            TEXT   NOT NULL,
    job_count       BIGINT NOT NULL,
    state           TEXT   NOT NULL,
    dataset         TEXT,
    created_unix_ms BIGINT NOT NULL,
    ended_unix_ms   BIGINT,
    checksum        BIGINT NOT NULL
);

CREATE TABLE jobs (
    sweep_id      BIGINT NOT NULL REFERENCES sweeps (sweep_id),
    job           BIGINT NOT NULL,
    state         TEXT   NOT NULL,
    -- The number of the last attempt; attempts count from 1 without a gap.
    attempts      BIGINT NOT NULL,
    failures      BIGINT NOT NULL DEFAULT 0,
    losses        BIGINT NOT NULL DEFAULT 0,
    -- A JSON list of the workers that the job was lost with.
    lost_with     TEXT   NOT NULL DEFAULT '[]',
    worker        TEXT   NOT NULL,
    reason        TEXT   NOT NULL DEFAULT '',
    -- Of the epochs that count.
    epochs_done   BIGINT           NOT NULL DEFAULT 0,
    train_seconds DOUBLE PRECISION NOT NULL DEFAULT 0,
    train_loss    DOUBLE PRECISION,
    val_accuracy  DOUBLE PRECISION,
    checksum      BIGINT           NOT NULL,
    PRIMARY KEY (sweep_id, job)
);

CREATE INDEX jobs_by_state ON jobs (sweep_id, state);

CREATE TABLE attempts (
    sweep_id        BIGINT  NOT NULL,
    job             BIGINT  NOT NULL,
    attempt         BIGINT  NOT NULL,
    worker          TEXT    NOT NULL,
    slot            BIGINT  NOT NULL,
    device          TEXT    NOT NULL,
    started         BOOLEAN NOT NULL DEFAULT FALSE,
    -- Epochs that it took over from an earlier attempt, by way of a checkpoint.
    resumed_epochs  BIGINT  NOT NULL DEFAULT 0,
    state           TEXT    NOT NULL,
    reason          TEXT    NOT NULL DEFAULT '',
    -- A JSON list of lines, oldest first.
    log_tail        TEXT    NOT NULL DEFAULT '[]',
    granted_unix_ms BIGINT  NOT NULL,
    ended_unix_ms   BIGINT,
    checksum        BIGINT  NOT NULL,
    PRIMARY KEY (sweep_id, job, attempt),
    FOREIGN KEY (sweep_id, job) REFERENCES jobs (sweep_id, job)
);

CREATE TABLE epochs (
    sweep_id      BIGINT NOT NULL,
    job           BIGINT NOT NULL,
    attempt       BIGINT NOT NULL,
    epoch         BIGINT NOT NULL,
    train_loss    DOUBLE PRECISION NOT NULL,
    val_accuracy  DOUBLE PRECISION NOT NULL,
    epoch_seconds DOUBLE PRECISION NOT NULL,
    checksum      BIGINT NOT NULL,
    PRIMARY KEY (sweep_id, job, attempt, epoch),
    FOREIGN KEY (sweep_id, job, attempt) REFERENCES attempts (sweep_id, job, attempt)
);

-- Who may write: one row. Its key is the epoch, which grows with every new leader, so that changing the leader
-- conflicts with the FOR KEY SHARE of a running commit while the leader's own beat does not.
CREATE TABLE leader (
    epoch   BIGINT  PRIMARY KEY,
    beat    BIGINT  NOT NULL,
    vacant  BOOLEAN NOT NULL,
    -- Where the leader is reached.
    address TEXT    NOT NULL
);

INSERT INTO leader (epoch, beat, vacant, address) VALUES (0, 0, TRUE, '');
