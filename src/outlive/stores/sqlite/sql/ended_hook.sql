SELECT 1 FROM ended_hooks WHERE token_hash = ?1
