WITH clock AS (SELECT coalesce($1::double precision, extract(epoch FROM clock_timestamp())::double precision) AS now)
SELECT
    q.name, count(t.id) FILTER (WHERE t.owner IS NULL AND NOT t.void), count(t.owner), q.most,
    min(t.scheduled_at) FILTER (WHERE t.owner IS NULL AND NOT t.void),
    (
        SELECT count(*)
        FROM outlive.services AS s
        JOIN outlive.workers AS w ON w.id = s.worker
        WHERE w.lease_until > (SELECT now FROM clock) AND (s.queues IS NULL OR s.queues::jsonb ? q.name)
    )
FROM outlive.queues AS q
LEFT JOIN outlive.tasks AS t ON t.queue = q.name
GROUP BY q.name
ORDER BY q.name
