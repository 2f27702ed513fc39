-- Of each row's other columns: SQLite notices damage to its structure, not to a number.
ALTER TABLE sweeps ADD COLUMN checksum INTEGER;
ALTER TABLE jobs ADD COLUMN checksum INTEGER;
ALTER TABLE attempts ADD COLUMN checksum INTEGER;
ALTER TABLE epochs ADD COLUMN checksum INTEGER;
