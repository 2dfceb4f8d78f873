-- Strictly: a lease that has ended can't be renewed, even before anybody has noticed.
WITH t AS (SELECT coalesce($2::double precision, extract(epoch FROM clock_timestamp())::double precision) AS now)
UPDATE outlive.workers AS w
SET lease_until = t.now + w.lease
FROM t
WHERE w.id = $1 AND w.lease_until > t.now
RETURNING 1
