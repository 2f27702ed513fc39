-- Validation loss and training accuracy, where a worker says them. Of a job, those of its last epoch that counts.
ALTER TABLE epochs ADD COLUMN val_loss REAL;
ALTER TABLE epochs ADD COLUMN train_accuracy REAL;
ALTER TABLE jobs ADD COLUMN val_loss REAL;
ALTER TABLE jobs ADD COLUMN train_accuracy REAL;
-- The first epoch with the highest validation accuracy, and that accuracy.
ALTER TABLE jobs ADD COLUMN best_epoch INTEGER;
ALTER TABLE jobs ADD COLUMN best_val_accuracy REAL;
-- The best value of the sweep's metric, where that is another.
ALTER TABLE jobs ADD COLUMN best_metric REAL;
