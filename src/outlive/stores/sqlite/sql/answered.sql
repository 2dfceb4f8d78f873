SELECT run, link FROM keys WHERE run = ?1 AND key = ?2
