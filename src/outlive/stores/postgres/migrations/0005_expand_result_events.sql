-- The event that a result becomes in its run's log, without the result: so that whoever ends the run can append it. Code of the version
-- before leaves none.
ALTER TABLE outlive.results ADD COLUMN event text;
