-- For each run that it owns one look into its inbox: a plain EXISTS may be planned as a walk through all inboxes.
SELECT r.id
FROM outlive.runs AS r
CROSS JOIN LATERAL (
    SELECT 1 FROM outlive.inbox AS i WHERE i.run = r.id AND NOT (i.kind = 'payload' AND i.ref = 0) LIMIT 1
) AS i
WHERE r.owner = $1
ORDER BY r.id
