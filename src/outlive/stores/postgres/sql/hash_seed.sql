-- The first to ask decides.
WITH put AS (
    INSERT INTO outlive.meta (key, value) VALUES ('hash_seed', $1) ON CONFLICT DO NOTHING RETURNING value
)
SELECT value FROM put
UNION ALL
SELECT value FROM outlive.meta WHERE key = 'hash_seed'
LIMIT 1
