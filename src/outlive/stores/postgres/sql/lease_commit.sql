-- As renew, with the server's clock and a stamp of this commit; no stamp: the lease has ended.
WITH t AS (
    SELECT coalesce($2::double precision, extract(epoch FROM clock_timestamp())::double precision) AS now
), renewed AS (
    UPDATE outlive.workers AS w
    SET lease_until = t.now + w.lease, commits = w.commits + 1
    FROM t
    WHERE w.id = $1 AND w.lease_until > t.now
    RETURNING w.commits
)
SELECT t.now, (SELECT commits FROM renewed) FROM t
