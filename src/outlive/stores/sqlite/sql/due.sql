-- For each known workflow the ?3 that have been due for longest: one short walk along its part of the index.
-- ?4: 0 steps over those that are suspected of having killed a worker, of which there are few.
SELECT r.id, r.suspect
FROM json_each(?1) AS w
CROSS JOIN runs AS r
WHERE r.id IN (
    SELECT d.id
    FROM runs AS d
    WHERE d.workflow = w.value AND d.owner IS NULL AND d.wake_at IS NOT NULL AND d.wake_at <= ?2
        AND (?4 OR NOT d.suspect) AND (?5 IS NULL OR d.queue IN (SELECT value FROM json_each(?5)))
    ORDER BY d.wake_at
    LIMIT ?3
)
ORDER BY r.wake_at, r.id
LIMIT ?3
