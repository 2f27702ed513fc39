-- The request id of a sweep is its owner's: two owners may take the same one. The column from before, which no two sweeps could share, has
-- those of older rows.
ALTER TABLE sweeps ADD COLUMN owners_request_id TEXT;

CREATE UNIQUE INDEX sweeps_by_request ON sweeps (COALESCE(owner, ''), owners_request_id);
