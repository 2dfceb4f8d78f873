-- The commit that most are, in one statement: runs that this worker owns and knows get the events that they have found.
-- Fenced by the lease, and run by run by owner, epoch, link and seq; who is not among the answers was fenced.
-- The events of a run come with its row, as one JSON array: a join of two lists is planned for ten rows and meets thousands.
WITH t AS (
    SELECT coalesce($2::double precision, extract(epoch FROM clock_timestamp())::double precision) AS now
), lease AS (
    UPDATE outlive.workers AS w
    SET lease_until = t.now + w.lease, commits = w.commits + 1
    FROM t
    WHERE w.id = $1 AND w.lease_until > t.now
    RETURNING w.commits
), locked AS MATERIALIZED (
    SELECT f.*
    FROM unnest(
        $3::text[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::boolean[], $9::bigint[], $10::boolean[],
        $11::text[], $12::text[]
    ) AS f (id, link, epoch, before, seq, progress, crashes, suspect, tried, events)
    JOIN outlive.runs AS r ON r.id = f.id
    ORDER BY r.id
    FOR NO KEY UPDATE OF r
), advanced AS (
    UPDATE outlive.runs AS r
    SET
        seq = l.seq, time = greatest(r.time, t.now), progress = l.progress, crashes = l.crashes, suspect = l.suspect,
        tried = l.tried
    FROM locked AS l, t, lease
    WHERE r.id = l.id AND r.link = l.link AND r.epoch = l.epoch AND r.seq = l.before AND r.owner IS NOT DISTINCT FROM $1
    RETURNING r.id, r.link, r.epoch, r.time, l.before, l.events
), events AS (
    INSERT INTO outlive.events (run, link, seq, time, worker, epoch, event)
    SELECT a.id, a.link, a.before + e.number, a.time, $1, a.epoch, e.event::text
    FROM advanced AS a
    CROSS JOIN LATERAL json_array_elements(a.events::json) WITH ORDINALITY AS e (event, number)
)
SELECT t.now, (SELECT commits FROM lease), a.id, a.time
FROM t
LEFT JOIN advanced AS a ON true
