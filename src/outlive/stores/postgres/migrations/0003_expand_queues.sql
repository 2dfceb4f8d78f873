-- Attempts of steps that wait in queues, or that the worker which took them is running: it holds them as long as it lives. Also code
-- that knows no queues frees them, as it removes their worker.
CREATE TABLE outlive.tasks (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run text COLLATE "C" NOT NULL,
    link bigint NOT NULL,
    ref bigint NOT NULL,
    root text COLLATE "C" NOT NULL,
    queue text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    priority bigint NOT NULL,
    scheduled_at double precision NOT NULL,
    owner text COLLATE "C" REFERENCES outlive.workers (id) ON DELETE SET NULL,
    claims bigint NOT NULL DEFAULT 0,
    crashes bigint NOT NULL DEFAULT 0,
    cancelling boolean NOT NULL DEFAULT false,
    void boolean NOT NULL DEFAULT false,
    call text NOT NULL,
    UNIQUE (run, link, ref)
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 2000);
CREATE INDEX tasks_waiting ON outlive.tasks (queue, name, priority, id) WHERE owner IS NULL;
CREATE INDEX tasks_ending ON outlive.tasks (id) WHERE owner IS NULL AND cancelling;
CREATE INDEX tasks_held ON outlive.tasks (owner) WHERE owner IS NOT NULL;
CREATE INDEX tasks_running ON outlive.tasks (queue) WHERE owner IS NOT NULL;

-- most: how many of its steps may run at once, across all workers; NULL: as many as workers take.
CREATE TABLE outlive.queues (
    name text COLLATE "C" PRIMARY KEY,
    most bigint
);

-- Which steps have ever been in which queue: few, so that a worker looks where there can be something.
CREATE TABLE outlive.queued_steps (
    name text COLLATE "C" NOT NULL,
    queue text COLLATE "C" NOT NULL,
    PRIMARY KEY (name, queue)
);

-- What living workers work on; queues is a JSON list, NULL: all.
CREATE TABLE outlive.services (
    worker text COLLATE "C" PRIMARY KEY REFERENCES outlive.workers (id) ON DELETE CASCADE,
    queues text,
    workflows text NOT NULL,
    steps text NOT NULL
);

-- Only workers that serve it take the run.
ALTER TABLE outlive.runs ADD COLUMN queue text COLLATE "C" NOT NULL DEFAULT 'default';
