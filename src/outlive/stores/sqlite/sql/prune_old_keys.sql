DELETE FROM keys
WHERE (run, key) IN (SELECT run, key FROM keys WHERE time < ?1 LIMIT ?2)
