-- Epochs that an attempt took over from an earlier one, by way of a checkpoint.
ALTER TABLE attempts ADD COLUMN resumed_epochs INTEGER NOT NULL DEFAULT 0;
