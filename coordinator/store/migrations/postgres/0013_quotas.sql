-- How many slots an owner's jobs hold at most, and how large the owner's share is; a quota that was lifted keeps its row.
CREATE TABLE quotas (
    owner       TEXT   NOT NULL PRIMARY KEY,
    -- Empty for as many as there are.
    slots       BIGINT,
    weight      BIGINT NOT NULL,
    set_unix_ms BIGINT NOT NULL,
    set_by      TEXT   NOT NULL,
    checksum    BIGINT NOT NULL
);
