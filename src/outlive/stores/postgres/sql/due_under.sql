SELECT r.id, r.suspect
FROM outlive.runs AS r
WHERE
    r.root = $5 AND r.owner IS NULL AND r.wake_at IS NOT NULL AND r.wake_at <= $2 AND r.workflow = ANY($1::text[])
    AND ($4::boolean OR NOT r.suspect) AND ($6::text[] IS NULL OR r.queue = ANY($6))
ORDER BY r.wake_at, r.id
LIMIT $3
FOR NO KEY UPDATE SKIP LOCKED
