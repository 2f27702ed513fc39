-- The names of a sweep's metrics, each at its place from 0 on. What `jobs` and `epochs` hold of them comes over when a coordinator
-- opens the database: their tables are made again from `by_name`.
CREATE TABLE metrics (
    sweep_id BIGINT NOT NULL REFERENCES sweeps (sweep_id),
    place    BIGINT NOT NULL,
    name     TEXT NOT NULL,
    checksum BIGINT NOT NULL,
    PRIMARY KEY (sweep_id, place)
);

-- What the sweep's trainable says of itself, as JSON.
ALTER TABLE sweeps ADD COLUMN manifest TEXT;
