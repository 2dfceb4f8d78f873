-- Whether there is anything to claim: one statement, and nothing written. It asks for the first by an order of an index, never for
-- any: for that the planner may think it quicker to walk through the table.
WITH t AS (
    SELECT coalesce($4::double precision, extract(epoch FROM clock_timestamp())::double precision) AS now
), known AS (
    SELECT * FROM unnest($2::text[]) AS w (workflow)
)
SELECT
    t.now,
    EXISTS (SELECT 1 FROM outlive.workers WHERE id = $1 AND lease_until > t.now),
    EXISTS (SELECT 1 FROM outlive.workers WHERE id <> $1 AND lease_until <= t.now),
    EXISTS (
        SELECT 1
        FROM known AS w
        CROSS JOIN LATERAL (
            SELECT 1
            FROM outlive.runs AS r
            WHERE
                r.workflow = w.workflow AND r.owner IS NULL AND r.wake_at IS NOT NULL AND r.wake_at <= t.now
                AND ($5::boolean OR NOT r.suspect) AND ($7::text[] IS NULL OR r.queue = ANY($7))
            ORDER BY r.wake_at
            LIMIT 1
        ) AS r
    ),
    EXISTS (
        SELECT 1
        FROM known AS w
        CROSS JOIN LATERAL (
            SELECT 1
            FROM outlive.runs AS r
            WHERE
                r.workflow = w.workflow AND r.status = 'parked' AND r.fingerprint <> $3
                AND strpos(chr(10) || r.tried || chr(10), chr(10) || $3 || chr(10)) = 0
                AND (left(r.fingerprint, 7) <> 'python ' OR substr(r.fingerprint, 8) = split_part($3, '-', 1))
                AND ($7::text[] IS NULL OR r.queue = ANY($7))
            ORDER BY r.fingerprint
            LIMIT 1
        ) AS r
    ),
    (
        SELECT min(r.wake_at)
        FROM known AS w
        CROSS JOIN LATERAL (
            SELECT r.wake_at
            FROM outlive.runs AS r
            WHERE r.workflow = w.workflow AND r.owner IS NULL AND r.wake_at IS NOT NULL
                AND ($7::text[] IS NULL OR r.queue = ANY($7))
            ORDER BY r.wake_at
            LIMIT 1
        ) AS r
    ),
    EXISTS (
        SELECT 1
        FROM outlive.queued_steps AS q
        CROSS JOIN LATERAL (
            SELECT 1
            FROM outlive.tasks AS t
            WHERE t.queue = q.queue AND t.name = q.name AND t.owner IS NULL AND t.deaths = 0 AND NOT t.cancelling AND NOT t.void
            ORDER BY t.priority, t.id
            LIMIT 1
        ) AS t
        WHERE q.name = ANY($6::text[]) AND ($7::text[] IS NULL OR q.queue = ANY($7))
    ) OR $8::boolean AND EXISTS (
        SELECT 1
        FROM outlive.queued_steps AS q
        CROSS JOIN LATERAL (
            SELECT 1
            FROM outlive.tasks AS t
            WHERE t.queue = q.queue AND t.name = q.name AND t.owner IS NULL AND t.deaths > 0 AND NOT t.cancelling AND NOT t.void
            ORDER BY t.priority, t.id
            LIMIT 1
        ) AS t
        WHERE q.name = ANY($6::text[]) AND ($7::text[] IS NULL OR q.queue = ANY($7))
    ) OR EXISTS (SELECT 1 FROM outlive.tasks WHERE owner IS NULL AND cancelling AND NOT void),
    (
        SELECT json_agg(json_build_array(run, link, ref))::text FROM outlive.tasks WHERE owner = $1 AND cancelling
    )
FROM t
