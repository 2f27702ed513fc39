-- Points of jobs that a searcher that learns proposed, and what it was told of jobs, in that order.
CREATE TABLE proposals (
    sweep_id   BIGINT NOT NULL REFERENCES sweeps (sweep_id),
    job        BIGINT NOT NULL,
    -- Pairs of name and value, as JSON.
    parameters TEXT    NOT NULL,
    -- Its place among the proposals of the sweep, from 1.
    place      BIGINT NOT NULL,
    -- How many rows of `learned` there were.
    seen       BIGINT NOT NULL,
    -- included, random, model, left, outside; the following only with model.
    why        TEXT    NOT NULL,
    good       BIGINT,
    running    BIGINT,
    near       BIGINT,
    score      DOUBLE PRECISION,
    checksum   BIGINT NOT NULL,
    PRIMARY KEY (sweep_id, job)
);

CREATE TABLE learned (
    sweep_id BIGINT NOT NULL REFERENCES sweeps (sweep_id),
    number   BIGINT NOT NULL,
    job      BIGINT NOT NULL,
    -- finished (with a value), diverged, nothing (it failed or was cancelled), stopped (early, or paused, after `epoch`),
    -- again (it is tried again).
    result   TEXT    NOT NULL,
    value    DOUBLE PRECISION,
    epoch    BIGINT,
    checksum BIGINT NOT NULL,
    PRIMARY KEY (sweep_id, number)
);
