-- How many workers have died with a task: those are tried apart from the others. Code of the version before counts none of them.
ALTER TABLE outlive.tasks ADD COLUMN deaths bigint NOT NULL DEFAULT 0;
CREATE INDEX tasks_suspected ON outlive.tasks (queue, name, deaths, priority, id) WHERE owner IS NULL AND deaths > 0;
