-- Who ran what in a span of time is asked for by when attempts ended; those that run have no end. It has all that the question looks at, so
-- that the rows themselves are read for those alone that are shown.
CREATE INDEX attempts_by_end ON attempts (ended_unix_ms, granted_unix_ms);
