SELECT min(r.wake_at)
FROM unnest($1::text[]) AS w (workflow)
CROSS JOIN LATERAL (
    SELECT r.wake_at
    FROM outlive.runs AS r
    WHERE r.workflow = w.workflow AND r.owner IS NULL AND r.wake_at IS NOT NULL
        AND ($2::text[] IS NULL OR r.queue = ANY($2))
    ORDER BY r.wake_at
    LIMIT 1
) AS r
