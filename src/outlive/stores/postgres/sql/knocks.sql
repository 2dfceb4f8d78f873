SELECT r.id
FROM outlive.runs AS r
WHERE r.owner = $1 AND EXISTS (SELECT 1 FROM outlive.inbox AS i WHERE i.run = r.id AND NOT (i.kind = 'payload' AND i.ref = 0))
ORDER BY r.id
