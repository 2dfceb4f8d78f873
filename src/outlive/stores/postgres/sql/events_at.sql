SELECT e.run, e.link, e.seq, e.event
FROM unnest($1::text[], $2::bigint[], $3::bigint[]) AS w (run, link, seq)
JOIN outlive.events AS e ON e.run = w.run AND e.link = w.link AND e.seq = w.seq
