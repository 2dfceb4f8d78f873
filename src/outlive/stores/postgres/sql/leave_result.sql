-- In a transaction of the user's: fenced by the lease and by the run's owner, epoch and link. Its lock on the run's row, which it keeps
-- until that transaction ends, holds up whoever would take the run over; so a client that goes silent before its commit is not waited
-- for longer than a lease.
INSERT INTO outlive.results (step_id, run, result, event, time)
SELECT $1::text, r.id, $6::text, $8::text, extract(epoch FROM clock_timestamp())::double precision
FROM outlive.runs AS r
WHERE
    r.id = $2::text AND r.link = $3::bigint AND r.epoch = $4::bigint AND r.owner = $5::text
    AND EXISTS (
        SELECT 1
        FROM outlive.workers AS w
        WHERE w.id = $5::text AND w.lease_until > coalesce($7::double precision, extract(epoch FROM clock_timestamp())::double precision)
    )
FOR SHARE OF r
ON CONFLICT DO NOTHING
RETURNING set_config('idle_in_transaction_session_timeout', '10s', true)
