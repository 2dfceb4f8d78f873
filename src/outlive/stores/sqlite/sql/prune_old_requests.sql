DELETE FROM requests
WHERE id IN (SELECT id FROM requests WHERE time < ?1 LIMIT ?2)
