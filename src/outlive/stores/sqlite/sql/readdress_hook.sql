UPDATE hooks SET link = ?2, ref = ?3 WHERE token_hash = ?1
