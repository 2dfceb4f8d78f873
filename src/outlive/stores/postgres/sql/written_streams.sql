-- What a step wrote that stands, by stream, with its first chunk.
SELECT c.run, c.link, c.ref, c.stream, min(c.number)
FROM unnest($1::text[], $2::bigint[], $3::bigint[]) AS w (run, link, ref)
JOIN outlive.chunks AS c ON c.run = w.run AND c.link = w.link AND c.ref = w.ref AND NOT c.void AND c.ref > 0
GROUP BY c.run, c.link, c.ref, c.stream
