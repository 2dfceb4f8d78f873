-- Of tasks that workers have died with: the first of each step, and of those the first: the least suspected.
SELECT t.id, t.run, t.link, t.ref, t.root, t.scheduled_at, t.owner, t.claims, t.crashes, t.deaths, t.cancelling, t.void, t.call
FROM json_each(?2) AS w
CROSS JOIN tasks AS t
WHERE t.id IN (
    SELECT d.id
    FROM tasks AS d
    WHERE d.queue = ?1 AND d.name = w.value AND d.owner IS NULL AND d.deaths > 0 AND NOT d.cancelling AND (?4 IS NULL OR d.root = ?4)
        AND d.id NOT IN (SELECT value FROM json_each(?5))
    ORDER BY d.deaths, d.priority, d.id
    LIMIT ?3
)
ORDER BY t.deaths, t.priority, t.id
LIMIT ?3
