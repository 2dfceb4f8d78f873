WITH t AS (SELECT coalesce($3::double precision, extract(epoch FROM clock_timestamp())::double precision) AS now)
INSERT INTO outlive.workers (id, lease, lease_until, joined_at)
SELECT $1, $2, t.now + $2, t.now FROM t
ON CONFLICT DO NOTHING
RETURNING 1
