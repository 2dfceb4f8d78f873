-- Attempts of steps that wait in queues, or that the worker which took them is running: it holds them as long as it lives.
-- AUTOINCREMENT: within one priority the order is that of their ids.
CREATE TABLE tasks (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    run TEXT NOT NULL,
    link INTEGER NOT NULL,
    ref INTEGER NOT NULL,
    root TEXT NOT NULL,
    queue TEXT NOT NULL,
    name TEXT NOT NULL,
    priority INTEGER NOT NULL,
    scheduled_at REAL NOT NULL,
    owner TEXT,
    claims INTEGER NOT NULL DEFAULT 0,
    crashes INTEGER NOT NULL DEFAULT 0,
    cancelling INTEGER NOT NULL DEFAULT 0,
    void INTEGER NOT NULL DEFAULT 0,
    call TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX tasks_step ON tasks (run, link, ref);
CREATE INDEX tasks_waiting ON tasks (queue, name, priority, id) WHERE owner IS NULL;
CREATE INDEX tasks_ending ON tasks (cancelling) WHERE owner IS NULL AND cancelling = 1;
CREATE INDEX tasks_held ON tasks (owner) WHERE owner IS NOT NULL;
CREATE INDEX tasks_running ON tasks (queue) WHERE owner IS NOT NULL;

-- most: how many of its steps may run at once, across all workers; NULL: as many as workers take.
CREATE TABLE queues (
    name TEXT PRIMARY KEY,
    most INTEGER
) STRICT, WITHOUT ROWID;

-- Which steps have ever been in which queue: few, so that a worker looks where there can be something.
CREATE TABLE queued_steps (
    name TEXT NOT NULL,
    queue TEXT NOT NULL,
    PRIMARY KEY (name, queue)
) STRICT, WITHOUT ROWID;

-- What living workers work on; queues is a JSON list, NULL: all.
CREATE TABLE services (
    worker TEXT PRIMARY KEY,
    queues TEXT,
    workflows TEXT NOT NULL,
    steps TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Only workers that serve it take the run.
ALTER TABLE runs ADD COLUMN queue TEXT NOT NULL DEFAULT 'default';
