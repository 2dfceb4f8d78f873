-- The same for a claim, which may be made beside a commit and has a stamp of its own.
WITH t AS (
    SELECT coalesce($2::double precision, extract(epoch FROM clock_timestamp())::double precision) AS now
), renewed AS (
    UPDATE outlive.workers AS w
    SET lease_until = t.now + w.lease, claims = w.claims + 1
    FROM t
    WHERE w.id = $1 AND w.lease_until > t.now
    RETURNING w.claims
)
SELECT t.now, (SELECT claims FROM renewed) FROM t
