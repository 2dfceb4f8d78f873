SELECT t.id, t.run, t.link, t.ref, t.root, t.scheduled_at, t.owner, t.claims, t.crashes, t.deaths, t.cancelling, t.void, t.call
FROM unnest($1::text[], $2::bigint[], $3::bigint[]) AS w (run, link, ref)
JOIN outlive.tasks AS t ON t.run = w.run AND t.link = w.link AND t.ref = w.ref
ORDER BY t.run, t.link, t.ref
FOR UPDATE OF t
