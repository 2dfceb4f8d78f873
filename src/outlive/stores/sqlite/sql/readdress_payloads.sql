UPDATE inbox SET link = ?3, ref = ?4 WHERE run = ?1 AND token_hash = ?2
