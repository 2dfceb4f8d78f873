CREATE TABLE meta (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- How many transactions each store object has committed without a worker: what it reads back when a COMMIT fails without an
-- answer. Those of a worker are counted in its own row, which they write anyway.
CREATE TABLE commits (
    store TEXT PRIMARY KEY,
    number INTEGER NOT NULL,
    time REAL NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE workers (
    id TEXT PRIMARY KEY,
    lease REAL NOT NULL,
    lease_until REAL NOT NULL,
    joined_at REAL NOT NULL,
    commits INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

-- The hot row of a run, of its newest link. The first columns are those of outlive.model.rows.RunRow, in its order.
CREATE TABLE runs (
    id TEXT PRIMARY KEY,
    link INTEGER NOT NULL,
    workflow TEXT NOT NULL,
    status TEXT NOT NULL,
    seq INTEGER NOT NULL,
    time REAL NOT NULL,
    epoch INTEGER NOT NULL,
    owner TEXT,
    wake_at REAL,
    crashes INTEGER NOT NULL,
    suspect INTEGER NOT NULL,
    progress INTEGER NOT NULL,
    takeover INTEGER NOT NULL,
    root TEXT NOT NULL,
    input_digest TEXT NOT NULL,
    ended_at REAL,
    reason TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    tried TEXT NOT NULL,
    created_at REAL NOT NULL,
    parent TEXT,
    tags TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Partial, so that what a claim costs does not depend on how many runs have ended, sleep or wait for a message.
CREATE INDEX runs_due ON runs (workflow, wake_at) WHERE owner IS NULL AND wake_at IS NOT NULL;
CREATE INDEX runs_parked ON runs (workflow, fingerprint) WHERE status = 'parked';
CREATE INDEX runs_owned ON runs (owner) WHERE owner IS NOT NULL;
CREATE INDEX runs_ended ON runs (ended_at) WHERE ended_at IS NOT NULL;
-- Lists, newest first.
CREATE INDEX runs_newest ON runs (created_at, id);
CREATE INDEX runs_status ON runs (status, created_at, id);
CREATE INDEX runs_workflow ON runs (workflow, created_at, id);
CREATE INDEX runs_root ON runs (root, created_at, id);

CREATE TABLE tags (
    tag TEXT NOT NULL,
    created_at REAL NOT NULL,
    run TEXT NOT NULL,
    PRIMARY KEY (tag, created_at, run)
) STRICT, WITHOUT ROWID;
CREATE INDEX tags_run ON tags (run);

CREATE TABLE events (
    run TEXT NOT NULL,
    link INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    time REAL NOT NULL,
    worker TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    event TEXT NOT NULL,
    PRIMARY KEY (run, link, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE waits (
    run TEXT NOT NULL,
    ref INTEGER NOT NULL,
    link INTEGER NOT NULL,
    kind TEXT NOT NULL,
    due REAL NOT NULL,
    PRIMARY KEY (run, ref)
) STRICT, WITHOUT ROWID;

-- A token is held by one run at a time: the key says so.
CREATE TABLE hooks (
    token_hash TEXT PRIMARY KEY,
    run TEXT NOT NULL,
    link INTEGER NOT NULL,
    ref INTEGER NOT NULL,
    token TEXT NOT NULL,
    schema TEXT NOT NULL,
    created_at REAL NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX hooks_run ON hooks (run, ref);

-- AUTOINCREMENT: an id is never used twice, so an acknowledgement can't hit a later message.
CREATE TABLE inbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    run TEXT NOT NULL,
    link INTEGER NOT NULL,
    ref INTEGER NOT NULL,
    kind TEXT NOT NULL,
    accepted REAL NOT NULL,
    token_hash TEXT,
    body TEXT NOT NULL
) STRICT;
CREATE INDEX inbox_run ON inbox (run, token_hash);

CREATE TABLE watches (
    target TEXT NOT NULL,
    run TEXT NOT NULL,
    link INTEGER NOT NULL,
    ref INTEGER NOT NULL,
    PRIMARY KEY (target, run, link, ref)
) STRICT, WITHOUT ROWID;
CREATE INDEX watches_run ON watches (run, ref);

-- Outlives the message: a delivery repeated after the first was taken gets the same answer.
CREATE TABLE keys (
    run TEXT NOT NULL,
    key TEXT NOT NULL,
    link INTEGER NOT NULL,
    token_hash TEXT,
    time REAL NOT NULL,
    PRIMARY KEY (run, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX keys_token ON keys (token_hash, key);
CREATE INDEX keys_time ON keys (time);
