INSERT INTO keys (run, key, link, token_hash, time) VALUES (?1, ?2, ?3, ?4, ?5)
