SELECT r.id
FROM runs AS r
WHERE r.owner = ?1 AND EXISTS (SELECT 1 FROM inbox WHERE run = r.id AND NOT (kind = 'payload' AND ref = 0))
ORDER BY r.id
