DELETE FROM outlive.watches AS w
USING unnest($1::text[], $2::bigint[]) AS gone (run, ref)
WHERE w.run = gone.run AND w.ref = gone.ref
