WITH keys AS (
    DELETE FROM outlive.keys WHERE (run, key) IN (SELECT run, key FROM outlive.keys WHERE time < $1 LIMIT $2)
)
DELETE FROM outlive.requests WHERE id IN (SELECT id FROM outlive.requests WHERE time < $1 LIMIT $2)
