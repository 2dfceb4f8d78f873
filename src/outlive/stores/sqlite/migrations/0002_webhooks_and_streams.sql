-- What the front door must know of a webhook, as JSON; empty for other hooks.
ALTER TABLE hooks ADD COLUMN webhook TEXT NOT NULL DEFAULT '';

-- How the caller of a webhook is answered, for those who come again with the same key.
ALTER TABLE keys ADD COLUMN reply TEXT NOT NULL DEFAULT '';

-- Tokens of webhooks that have ended: their callers are told so, for as long as the run is kept.
CREATE TABLE ended_hooks (
    token_hash TEXT PRIMARY KEY,
    run TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX ended_hooks_run ON ended_hooks (run);

-- Callers of webhooks whom the run answers. NULL: not yet; empty: never.
CREATE TABLE requests (
    id TEXT PRIMARY KEY,
    run TEXT NOT NULL,
    time REAL NOT NULL,
    answer TEXT
) STRICT, WITHOUT ROWID;
CREATE INDEX requests_run ON requests (run);
CREATE INDEX requests_time ON requests (time);

-- Values are text, bytes are blobs. A void chunk was written by an attempt that another one has followed.
CREATE TABLE chunks (
    run TEXT NOT NULL,
    stream TEXT NOT NULL,
    number INTEGER NOT NULL,
    kind TEXT NOT NULL,
    link INTEGER NOT NULL,
    ref INTEGER NOT NULL,
    time REAL NOT NULL,
    void INTEGER NOT NULL,
    data ANY NOT NULL,
    PRIMARY KEY (run, stream, number)
) STRICT, WITHOUT ROWID;
CREATE INDEX chunks_writer ON chunks (run, link, ref, stream, number) WHERE NOT void AND ref > 0;

-- Who may use the HTTP API. The key itself is not kept.
CREATE TABLE api_keys (
    id TEXT PRIMARY KEY,
    hash TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    role TEXT NOT NULL,
    created_at REAL NOT NULL,
    expires_at REAL,
    used_at REAL
) STRICT, WITHOUT ROWID;
