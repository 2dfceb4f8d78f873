SELECT q.queue, q.name
FROM outlive.queued_steps AS q
CROSS JOIN LATERAL (
    SELECT 1
    FROM outlive.tasks AS t
    WHERE t.queue = q.queue AND t.name = q.name AND t.owner IS NULL AND t.deaths = 0 AND NOT t.cancelling AND NOT t.void
        AND ($3::text IS NULL OR t.root = $3)
    ORDER BY t.priority, t.id
    LIMIT 1
) AS t
WHERE q.name = ANY($1::text[]) AND ($2::text[] IS NULL OR q.queue = ANY($2))
