DELETE FROM outlive.tasks AS t
USING unnest($1::text[], $2::bigint[], $3::bigint[]) AS gone (run, link, ref)
WHERE t.run = gone.run AND t.link = gone.link AND t.ref = gone.ref
