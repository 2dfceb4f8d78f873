SELECT min(due.wake_at)
FROM (
    SELECT (
        SELECT min(r.wake_at)
        FROM runs AS r
        WHERE r.workflow = w.value AND r.owner IS NULL AND r.wake_at IS NOT NULL
    ) AS wake_at
    FROM json_each(?1) AS w
) AS due
