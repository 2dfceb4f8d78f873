SELECT min(wake_at)
FROM runs
WHERE root = ?2 AND owner IS NULL AND wake_at IS NOT NULL AND workflow IN (SELECT value FROM json_each(?1))
    AND (?3 IS NULL OR queue IN (SELECT value FROM json_each(?3)))
