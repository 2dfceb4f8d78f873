SELECT run, link, reply FROM keys WHERE run = ?1 AND key = ?2
