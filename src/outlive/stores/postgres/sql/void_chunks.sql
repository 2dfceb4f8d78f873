UPDATE outlive.chunks AS c
SET void = true
FROM unnest($1::text[], $2::bigint[], $3::bigint[]) AS w (run, link, ref)
WHERE c.run = w.run AND c.link = w.link AND c.ref = w.ref AND NOT c.void AND c.ref > 0
