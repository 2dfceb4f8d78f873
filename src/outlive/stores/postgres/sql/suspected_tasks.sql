-- Of tasks that workers have died with: the first of each step that no other worker is taking now, and of those the first: the least suspected.
SELECT t.id, t.run, t.link, t.ref, t.root, t.scheduled_at, t.owner, t.claims, t.crashes, t.deaths, t.cancelling, t.void, t.call
FROM unnest($2::text[]) AS s (name)
CROSS JOIN LATERAL (
    SELECT *
    FROM outlive.tasks AS t
    WHERE t.queue = $1 AND t.name = s.name AND t.owner IS NULL AND t.deaths > 0 AND NOT t.cancelling AND NOT t.void
        AND ($4::text IS NULL OR t.root = $4) AND t.id <> ALL($5::bigint[])
    ORDER BY t.deaths, t.priority, t.id
    LIMIT $3
    FOR UPDATE SKIP LOCKED
) AS t
ORDER BY t.deaths, t.priority, t.id
LIMIT $3
