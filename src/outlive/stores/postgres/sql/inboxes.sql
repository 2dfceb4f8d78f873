SELECT run, id, link, ref, kind, accepted, token_hash, body
FROM outlive.inbox
WHERE run = ANY($1::text[])
ORDER BY run, id
