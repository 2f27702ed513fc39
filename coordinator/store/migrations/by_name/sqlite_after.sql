DROP TABLE epochs_1;
DROP TABLE jobs_1;
