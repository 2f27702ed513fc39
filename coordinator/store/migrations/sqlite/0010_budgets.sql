-- How far the attempts of a job train, as a number of epochs, where a rule of early stopping says it; and what it had reached at
-- the rule's rungs, as `epoch:value`, separated by commas. Both are empty in sweeps without such a rule.
ALTER TABLE jobs ADD COLUMN budget INTEGER;
ALTER TABLE jobs ADD COLUMN rungs TEXT;
