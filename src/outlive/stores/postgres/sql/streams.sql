-- One step along the index for each stream, however long they are.
WITH RECURSIVE names (name) AS (
    (SELECT stream FROM outlive.chunks WHERE run = $1 ORDER BY stream LIMIT 1)
    UNION ALL
    SELECT (SELECT c.stream FROM outlive.chunks AS c WHERE c.run = $1 AND c.stream > names.name ORDER BY c.stream LIMIT 1)
    FROM names
    WHERE names.name IS NOT NULL
)
SELECT
    n.name,
    (SELECT c.number + 1 FROM outlive.chunks AS c WHERE c.run = $1 AND c.stream = n.name ORDER BY c.number DESC LIMIT 1),
    EXISTS (SELECT 1 FROM outlive.chunks AS c WHERE c.run = $1 AND c.stream = n.name AND c.kind = 'close' AND NOT c.void),
    (SELECT c.time FROM outlive.chunks AS c WHERE c.run = $1 AND c.stream = n.name ORDER BY c.number LIMIT 1),
    (SELECT c.time FROM outlive.chunks AS c WHERE c.run = $1 AND c.stream = n.name ORDER BY c.number DESC LIMIT 1)
FROM names AS n
WHERE n.name IS NOT NULL AND ($2::text IS NULL OR n.name = $2)
ORDER BY n.name
