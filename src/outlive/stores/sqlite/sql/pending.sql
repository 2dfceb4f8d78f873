SELECT count(*) FROM inbox WHERE run = ?1 AND token_hash = ?2
