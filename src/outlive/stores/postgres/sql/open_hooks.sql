SELECT
    h.token_hash, h.run, h.link, h.ref, h.token, h.schema, h.created_at,
    (SELECT count(*) FROM outlive.inbox AS i WHERE i.run = h.run AND i.token_hash = h.token_hash), h.webhook
FROM outlive.hooks AS h
WHERE (h.run, h.ref) < ($1, $2)
ORDER BY h.run DESC, h.ref DESC
LIMIT $3
