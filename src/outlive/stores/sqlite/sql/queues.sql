SELECT
    q.name, count(t.id), coalesce(sum(t.owner IS NOT NULL), 0), q.most, min(CASE WHEN t.owner IS NULL THEN t.scheduled_at END),
    (
        SELECT count(*)
        FROM services AS s
        JOIN workers AS w ON w.id = s.worker
        WHERE w.lease_until > ?1 AND (s.queues IS NULL OR q.name IN (SELECT value FROM json_each(s.queues)))
    )
FROM queues AS q
LEFT JOIN tasks AS t ON t.queue = q.name
GROUP BY q.name
ORDER BY q.name
