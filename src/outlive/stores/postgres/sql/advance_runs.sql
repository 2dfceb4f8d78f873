-- What an ordinary event changes: no indexed column. The rows are locked.
UPDATE outlive.runs AS r
SET seq = w.seq, time = w.time, progress = w.progress, crashes = w.crashes, suspect = w.suspect, tried = w.tried
FROM unnest(
    $1::text[], $2::bigint[], $3::double precision[], $4::boolean[], $5::bigint[], $6::boolean[], $7::text[]
) AS w (id, seq, time, progress, crashes, suspect, tried)
WHERE r.id = w.id
RETURNING 1
