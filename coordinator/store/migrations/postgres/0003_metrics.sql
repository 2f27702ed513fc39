-- Validation loss and training accuracy, where a worker says them. Of a job, those of its last epoch that counts.
ALTER TABLE epochs ADD COLUMN val_loss DOUBLE PRECISION;
ALTER TABLE epochs ADD COLUMN train_accuracy DOUBLE PRECISION;
ALTER TABLE jobs ADD COLUMN val_loss DOUBLE PRECISION;
ALTER TABLE jobs ADD COLUMN train_accuracy DOUBLE PRECISION;
-- The first epoch with the highest validation accuracy, and that accuracy.
ALTER TABLE jobs ADD COLUMN best_epoch BIGINT;
ALTER TABLE jobs ADD COLUMN best_val_accuracy DOUBLE PRECISION;
-- The best value of the sweep's metric, where that is another.
ALTER TABLE jobs ADD COLUMN best_metric DOUBLE PRECISION;
