-- For each known workflow the $3 that have been due for longest, and that no other worker is taking now.
SELECT r.id, r.suspect
FROM unnest($1::text[]) AS w (workflow)
CROSS JOIN LATERAL (
    SELECT d.id, d.suspect, d.wake_at
    FROM outlive.runs AS d
    WHERE
        d.workflow = w.workflow AND d.owner IS NULL AND d.wake_at IS NOT NULL AND d.wake_at <= $2
        AND ($4::boolean OR NOT d.suspect) AND ($5::text[] IS NULL OR d.queue = ANY($5))
    ORDER BY d.wake_at, d.id
    LIMIT $3
    FOR NO KEY UPDATE SKIP LOCKED
) AS r
ORDER BY r.wake_at, r.id
LIMIT $3
