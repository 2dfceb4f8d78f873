SELECT run, link FROM keys WHERE token_hash = ?1 AND key = ?2
