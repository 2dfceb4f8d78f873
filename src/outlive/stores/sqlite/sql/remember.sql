INSERT INTO keys (run, key, link, token_hash, time, reply) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
