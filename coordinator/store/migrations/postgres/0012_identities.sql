-- Tokens of people and workers; their secrets are not here, but a hash of each. And who submitted a sweep, empty where no one was asked.
CREATE TABLE tokens (
    id              TEXT   PRIMARY KEY,
    name            TEXT   NOT NULL,
    -- viewer, worker, submitter, admin.
    role            TEXT   NOT NULL,
    -- BLAKE3 of the secret, in hexadecimal digits.
    secret_hash     TEXT   NOT NULL,
    created_unix_ms BIGINT NOT NULL,
    created_by      TEXT   NOT NULL,
    expires_unix_ms BIGINT,
    revoked_unix_ms BIGINT,
    checksum        BIGINT NOT NULL
);

ALTER TABLE sweeps ADD COLUMN owner TEXT;
