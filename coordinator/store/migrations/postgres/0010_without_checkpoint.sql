-- The first job of a sweep that paused without a checkpoint; empty where none did.
ALTER TABLE sweeps ADD COLUMN without_checkpoint BIGINT;
