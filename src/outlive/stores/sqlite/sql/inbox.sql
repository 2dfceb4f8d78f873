SELECT id, link, ref, kind, accepted, token_hash, body
FROM inbox
WHERE run = ?1
ORDER BY id
