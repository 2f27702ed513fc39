-- Which parameters the programs of a sweep have read, as JSON.
ALTER TABLE sweeps ADD COLUMN parameters TEXT;
