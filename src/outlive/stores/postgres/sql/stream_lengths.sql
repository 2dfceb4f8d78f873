SELECT
    w.run, w.stream,
    coalesce((SELECT c.number + 1 FROM outlive.chunks AS c WHERE c.run = w.run AND c.stream = w.stream ORDER BY c.number DESC LIMIT 1), 0)
FROM unnest($1::text[], $2::text[]) AS w (run, stream)
