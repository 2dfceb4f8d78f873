UPDATE outlive.tasks AS t
SET owner = w.owner, claims = w.claims, crashes = w.crashes, cancelling = w.cancelling
FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::text[], $5::bigint[], $6::bigint[], $7::boolean[])
    AS w (run, link, ref, owner, claims, crashes, cancelling)
WHERE t.run = w.run AND t.link = w.link AND t.ref = w.ref
