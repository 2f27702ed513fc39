-- A JSON list of the workers that a job was lost with.
ALTER TABLE jobs ADD COLUMN lost_with TEXT NOT NULL DEFAULT '[]';
