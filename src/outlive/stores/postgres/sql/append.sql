-- The commit that most are, in one statement: runs that this worker owns and knows get the events that they have found.
-- Fenced by the lease, and run by run by owner, epoch, link and seq; who is not among the answers was fenced.
WITH t AS (
    SELECT coalesce($2::double precision, extract(epoch FROM clock_timestamp())::double precision) AS now
), lease AS (
    UPDATE outlive.workers AS w
    SET lease_until = t.now + w.lease, commits = w.commits + 1
    FROM t
    WHERE w.id = $1 AND w.lease_until > t.now
    RETURNING w.commits
), found AS (
    SELECT *
    FROM unnest(
        $3::text[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::boolean[], $9::bigint[], $10::boolean[],
        $11::text[]
    ) AS w (id, link, epoch, before, seq, progress, crashes, suspect, tried)
), locked AS MATERIALIZED (
    SELECT r.id
    FROM outlive.runs AS r
    WHERE r.id = ANY($3::text[])
    ORDER BY r.id
    FOR NO KEY UPDATE
), advanced AS (
    UPDATE outlive.runs AS r
    SET
        seq = f.seq, time = greatest(r.time, t.now), progress = f.progress, crashes = f.crashes, suspect = f.suspect,
        tried = f.tried
    FROM t, lease, locked AS l, found AS f
    WHERE
        r.id = l.id AND r.id = f.id AND r.link = f.link AND r.epoch = f.epoch AND r.seq = f.before AND r.owner = $1
    RETURNING r.id, r.link, r.epoch, r.time
), events AS (
    INSERT INTO outlive.events (run, link, seq, time, worker, epoch, event)
    SELECT a.id, a.link, e.seq, a.time, $1, a.epoch, e.event
    FROM unnest($12::text[], $13::bigint[], $14::text[]) AS e (run, seq, event)
    JOIN advanced AS a ON a.id = e.run
)
SELECT t.now, (SELECT commits FROM lease), a.id, a.time
FROM t
LEFT JOIN advanced AS a ON true
