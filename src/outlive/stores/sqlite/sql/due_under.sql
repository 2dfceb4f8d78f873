SELECT r.id, r.suspect
FROM runs AS r
WHERE
    r.root = ?5 AND r.owner IS NULL AND r.wake_at IS NOT NULL AND r.wake_at <= ?2
    AND r.workflow IN (SELECT value FROM json_each(?1)) AND (?4 OR NOT r.suspect) AND (?6 IS NULL OR r.queue IN (SELECT value FROM json_each(?6)))
ORDER BY r.wake_at, r.id
LIMIT ?3
