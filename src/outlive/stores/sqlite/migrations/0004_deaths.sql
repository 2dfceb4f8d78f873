-- How many workers have died with a task: those are tried apart from the others.
ALTER TABLE tasks ADD COLUMN deaths INTEGER NOT NULL DEFAULT 0;
CREATE INDEX tasks_suspected ON tasks (queue, name, deaths, priority, id) WHERE owner IS NULL AND deaths > 0;
