UPDATE outlive.requests AS r
SET answer = w.answer
FROM unnest($1::text[], $2::text[]) AS w (id, answer)
WHERE r.id = w.id AND r.answer IS NULL
