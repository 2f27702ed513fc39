DROP TABLE epochs_1;
DROP TABLE jobs_1;
ALTER TABLE attempts ADD CONSTRAINT attempts_sweep_id_job_fkey
    FOREIGN KEY (sweep_id, job) REFERENCES jobs (sweep_id, job);
ALTER TABLE artifacts ADD CONSTRAINT artifacts_sweep_id_job_fkey
    FOREIGN KEY (sweep_id, job) REFERENCES jobs (sweep_id, job);
