-- Points of jobs that a searcher that learns proposed, and what it was told of jobs, in that order.
CREATE TABLE proposals (
    sweep_id   INTEGER NOT NULL REFERENCES sweeps (sweep_id),
    job        INTEGER NOT NULL,
    -- Pairs of name and value, as JSON.
    parameters TEXT    NOT NULL,
    -- Its place among the proposals of the sweep, from 1.
    place      INTEGER NOT NULL,
    -- How many rows of `learned` there were.
    seen       INTEGER NOT NULL,
    -- included, random, model, left, outside; the following only with model.
    why        TEXT    NOT NULL,
    good       INTEGER,
    running    INTEGER,
    near       INTEGER,
    score      REAL,
    checksum   INTEGER NOT NULL,
    PRIMARY KEY (sweep_id, job)
) STRICT, WITHOUT ROWID;

CREATE TABLE learned (
    sweep_id INTEGER NOT NULL REFERENCES sweeps (sweep_id),
    number   INTEGER NOT NULL,
    job      INTEGER NOT NULL,
    -- finished (with a value), diverged, nothing (it failed or was cancelled), stopped (early, or paused, after `epoch`),
    -- again (it is tried again).
    result   TEXT    NOT NULL,
    value    REAL,
    epoch    INTEGER,
    checksum INTEGER NOT NULL,
    PRIMARY KEY (sweep_id, number)
) STRICT, WITHOUT ROWID;
