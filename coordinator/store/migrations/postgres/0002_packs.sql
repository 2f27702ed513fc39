-- Jobs that an attempt was trained together with, itself included; nothing where it was alone.
ALTER TABLE jobs ADD COLUMN pack_size BIGINT;
ALTER TABLE attempts ADD COLUMN pack_size BIGINT;
