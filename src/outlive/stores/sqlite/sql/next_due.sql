SELECT min(due.wake_at)
FROM (
    SELECT (
        SELECT min(r.wake_at)
        FROM runs AS r
        WHERE r.workflow = w.value AND r.owner IS NULL AND r.wake_at IS NOT NULL
            AND (?2 IS NULL OR r.queue IN (SELECT value FROM json_each(?2)))
    ) AS wake_at
    FROM json_each(?1) AS w
) AS due
