-- What an append did whose answer got lost: the runs that are as it would have left them.
SELECT r.id, r.time
FROM outlive.runs AS r
JOIN unnest($1::text[], $2::bigint[], $3::bigint[]) AS f (id, epoch, seq) ON r.id = f.id AND r.epoch = f.epoch AND r.seq = f.seq
