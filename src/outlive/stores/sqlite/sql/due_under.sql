SELECT r.id
FROM runs AS r
WHERE
    r.root = ?4 AND r.owner IS NULL AND r.wake_at IS NOT NULL AND r.wake_at <= ?2
    AND r.workflow IN (SELECT value FROM json_each(?1))
ORDER BY r.wake_at, r.id
LIMIT ?3
