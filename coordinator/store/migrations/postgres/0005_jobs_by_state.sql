-- An index that begins with the sweep looks as good as the primary key to a planner that knows nothing of a new table
-- yet. The check of a reference to a job is planned once a session, and then went through all jobs of the sweep.
DROP INDEX jobs_by_state;
CREATE INDEX jobs_by_state ON jobs (state, sweep_id, job);
