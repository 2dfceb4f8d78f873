-- Text that is compared for order has the collation "C": the same order as Python's, whatever the database's own.
CREATE TABLE outlive.meta (
    key text PRIMARY KEY,
    value text NOT NULL
);

-- How many transactions each store object has committed without a worker: what it reads back when a COMMIT fails without an
-- answer. Those of a worker are counted in its own row, which they write anyway.
CREATE TABLE outlive.commits (
    store text PRIMARY KEY,
    number bigint NOT NULL,
    time double precision NOT NULL
) WITH (fillfactor = 50);

CREATE TABLE outlive.workers (
    id text COLLATE "C" PRIMARY KEY,
    lease double precision NOT NULL,
    lease_until double precision NOT NULL,
    joined_at double precision NOT NULL,
    commits bigint NOT NULL DEFAULT 0,
    claims bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50);

-- The hot row of a run, of its newest link. The first columns are those of outlive.model.rows.RunRow, in its order.
-- What an ordinary event changes is in no index, and every page keeps room for it: a commit then leaves the indexes alone.
CREATE TABLE outlive.runs (
    id text COLLATE "C" PRIMARY KEY,
    link bigint NOT NULL,
    workflow text COLLATE "C" NOT NULL,
    status text COLLATE "C" NOT NULL,
    seq bigint NOT NULL,
    time double precision NOT NULL,
    epoch bigint NOT NULL,
    owner text COLLATE "C",
    wake_at double precision,
    crashes bigint NOT NULL,
    suspect boolean NOT NULL,
    progress boolean NOT NULL,
    takeover boolean NOT NULL,
    root text COLLATE "C" NOT NULL,
    input_digest text NOT NULL,
    ended_at double precision,
    reason text NOT NULL,
    fingerprint text COLLATE "C" NOT NULL,
    tried text NOT NULL,
    created_at double precision NOT NULL,
    parent text,
    tags text NOT NULL
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 2000);

-- Partial, so that what a claim costs does not depend on how many runs have ended, sleep or wait for a message.
CREATE INDEX runs_due ON outlive.runs (workflow, wake_at, id) WHERE owner IS NULL AND wake_at IS NOT NULL;
CREATE INDEX runs_parked ON outlive.runs (workflow, fingerprint) WHERE status = 'parked';
CREATE INDEX runs_owned ON outlive.runs (owner, id) WHERE owner IS NOT NULL;
CREATE INDEX runs_ended ON outlive.runs (ended_at) WHERE ended_at IS NOT NULL;
-- Lists, newest first.
CREATE INDEX runs_newest ON outlive.runs (created_at, id);
CREATE INDEX runs_status ON outlive.runs (status, created_at, id);
CREATE INDEX runs_workflow ON outlive.runs (workflow, created_at, id);
CREATE INDEX runs_root ON outlive.runs (root, created_at, id);

CREATE TABLE outlive.tags (
    tag text COLLATE "C" NOT NULL,
    created_at double precision NOT NULL,
    run text COLLATE "C" NOT NULL,
    PRIMARY KEY (tag, created_at, run)
);
CREATE INDEX tags_run ON outlive.tags (run);

CREATE TABLE outlive.events (
    run text COLLATE "C" NOT NULL,
    link bigint NOT NULL,
    seq bigint NOT NULL,
    time double precision NOT NULL,
    worker text NOT NULL,
    epoch bigint NOT NULL,
    event text NOT NULL,
    PRIMARY KEY (run, link, seq)
);

CREATE TABLE outlive.waits (
    run text COLLATE "C" NOT NULL,
    ref bigint NOT NULL,
    link bigint NOT NULL,
    kind text NOT NULL,
    due double precision NOT NULL,
    PRIMARY KEY (run, ref)
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 2000);

-- A token is held by one run at a time: the key says so.
CREATE TABLE outlive.hooks (
    token_hash text COLLATE "C" PRIMARY KEY,
    run text COLLATE "C" NOT NULL,
    link bigint NOT NULL,
    ref bigint NOT NULL,
    token text NOT NULL,
    schema text NOT NULL,
    created_at double precision NOT NULL,
    webhook text NOT NULL
);
CREATE INDEX hooks_run ON outlive.hooks (run, ref);

-- Ids are taken while the run's row is locked: within one run their order is that of acceptance.
CREATE SEQUENCE outlive.message_ids;
CREATE TABLE outlive.inbox (
    id bigint PRIMARY KEY,
    run text COLLATE "C" NOT NULL,
    link bigint NOT NULL,
    ref bigint NOT NULL,
    kind text NOT NULL,
    accepted double precision NOT NULL,
    token_hash text COLLATE "C",
    body text NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 2000);
CREATE INDEX inbox_run ON outlive.inbox (run, id);

CREATE TABLE outlive.watches (
    target text COLLATE "C" NOT NULL,
    run text COLLATE "C" NOT NULL,
    link bigint NOT NULL,
    ref bigint NOT NULL,
    PRIMARY KEY (target, run, link, ref)
);
CREATE INDEX watches_run ON outlive.watches (run, ref);

-- Outlives the message: a delivery repeated after the first was taken gets the same answer.
CREATE TABLE outlive.keys (
    run text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    link bigint NOT NULL,
    token_hash text COLLATE "C",
    time double precision NOT NULL,
    reply text NOT NULL,
    PRIMARY KEY (run, key)
);
CREATE INDEX keys_token ON outlive.keys (token_hash, key);
CREATE INDEX keys_time ON outlive.keys (time);

-- Tokens of webhooks that have ended: their callers are told so, for as long as the run is kept.
CREATE TABLE outlive.ended_hooks (
    token_hash text COLLATE "C" PRIMARY KEY,
    run text COLLATE "C" NOT NULL
);
CREATE INDEX ended_hooks_run ON outlive.ended_hooks (run);

-- Callers of webhooks whom the run answers. NULL: not yet; empty: never.
CREATE TABLE outlive.requests (
    id text COLLATE "C" PRIMARY KEY,
    run text COLLATE "C" NOT NULL,
    time double precision NOT NULL,
    answer text
);
CREATE INDEX requests_run ON outlive.requests (run);
CREATE INDEX requests_time ON outlive.requests (time);

-- A void chunk was written by an attempt that another one has followed.
CREATE TABLE outlive.chunks (
    run text COLLATE "C" NOT NULL,
    stream text COLLATE "C" NOT NULL,
    number bigint NOT NULL,
    kind text NOT NULL,
    link bigint NOT NULL,
    ref bigint NOT NULL,
    time double precision NOT NULL,
    void boolean NOT NULL,
    data bytea NOT NULL,
    PRIMARY KEY (run, stream, number)
);
CREATE INDEX chunks_writer ON outlive.chunks (run, link, ref, stream, number) WHERE NOT void AND ref > 0;

-- Who may use the HTTP API. The key itself is not kept.
CREATE TABLE outlive.api_keys (
    id text PRIMARY KEY,
    hash text NOT NULL UNIQUE,
    name text NOT NULL,
    role text NOT NULL,
    created_at double precision NOT NULL,
    expires_at double precision,
    used_at double precision
);
