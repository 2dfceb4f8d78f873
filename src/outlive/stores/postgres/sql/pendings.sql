SELECT w.run, w.token_hash, (SELECT count(*) FROM outlive.inbox AS i WHERE i.run = w.run AND i.token_hash = w.token_hash)
FROM unnest($1::text[], $2::text[]) AS w (run, token_hash)
