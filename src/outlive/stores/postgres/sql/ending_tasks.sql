-- Nobody holds them, and somebody has to say that they have ended.
SELECT id, run, link, ref, root, scheduled_at, owner, claims, crashes, deaths, cancelling, void, call
FROM outlive.tasks
WHERE owner IS NULL AND cancelling AND NOT void AND ($1::text IS NULL OR root = $1)
LIMIT 100
FOR UPDATE SKIP LOCKED
