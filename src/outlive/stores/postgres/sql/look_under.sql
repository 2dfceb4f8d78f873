WITH t AS (
    SELECT coalesce($4::double precision, extract(epoch FROM clock_timestamp())::double precision) AS now
), family AS MATERIALIZED (
    SELECT wake_at, suspect, status, fingerprint, tried, owner
    FROM outlive.runs
    WHERE root = $6 AND workflow = ANY($2::text[]) AND owner IS NULL AND (wake_at IS NOT NULL OR status = 'parked')
        AND ($8::text[] IS NULL OR queue = ANY($8))
)
SELECT
    t.now,
    EXISTS (SELECT 1 FROM outlive.workers WHERE id = $1 AND lease_until > t.now),
    EXISTS (SELECT 1 FROM outlive.workers WHERE id <> $1 AND lease_until <= t.now),
    EXISTS (SELECT 1 FROM family AS r WHERE r.wake_at <= t.now AND ($5::boolean OR NOT r.suspect)),
    EXISTS (
        SELECT 1
        FROM family AS r
        WHERE
            r.status = 'parked' AND r.fingerprint <> $3
            AND strpos(chr(10) || r.tried || chr(10), chr(10) || $3 || chr(10)) = 0
            AND (left(r.fingerprint, 7) <> 'python ' OR substr(r.fingerprint, 8) = split_part($3, '-', 1))
    ),
    (SELECT min(wake_at) FROM family),
    EXISTS (
        SELECT 1
        FROM outlive.queued_steps AS q
        CROSS JOIN LATERAL (
            SELECT 1
            FROM outlive.tasks AS t
            WHERE t.queue = q.queue AND t.name = q.name AND t.owner IS NULL AND t.deaths = 0 AND NOT t.cancelling AND NOT t.void AND t.root = $6
            ORDER BY t.priority, t.id
            LIMIT 1
        ) AS t
        WHERE q.name = ANY($7::text[]) AND ($8::text[] IS NULL OR q.queue = ANY($8))
    ) OR $9::boolean AND EXISTS (
        SELECT 1
        FROM outlive.queued_steps AS q
        CROSS JOIN LATERAL (
            SELECT 1
            FROM outlive.tasks AS t
            WHERE t.queue = q.queue AND t.name = q.name AND t.owner IS NULL AND t.deaths > 0 AND NOT t.cancelling AND NOT t.void AND t.root = $6
            ORDER BY t.priority, t.id
            LIMIT 1
        ) AS t
        WHERE q.name = ANY($7::text[]) AND ($8::text[] IS NULL OR q.queue = ANY($8))
    ) OR EXISTS (SELECT 1 FROM outlive.tasks WHERE owner IS NULL AND cancelling AND NOT void AND root = $6),
    (
        SELECT json_agg(json_build_array(run, link, ref))::text FROM outlive.tasks WHERE owner = $1 AND cancelling
    )
FROM t
