INSERT INTO inbox (run, link, ref, kind, accepted, token_hash, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
