-- Locked in the order of their ids; the clock is read as each has been locked.
WITH locked AS MATERIALIZED (
    SELECT
        id, link, workflow, status, seq, time, epoch, owner, wake_at, crashes, suspect, progress, takeover, root,
        input_digest, ended_at, reason, fingerprint, tried
    FROM outlive.runs
    WHERE id = ANY($1::text[])
    ORDER BY id
    FOR NO KEY UPDATE
)
SELECT *, coalesce($2::double precision, extract(epoch FROM clock_timestamp())::double precision)
FROM locked
