-- Who ran what in a span of time is asked for by when attempts ended; those that run have no end.
CREATE INDEX attempts_by_end ON attempts (ended_unix_ms, granted_unix_ms, sweep_id, job, attempt);
