SELECT run, link, reply FROM keys WHERE token_hash = ?1 AND key = ?2
