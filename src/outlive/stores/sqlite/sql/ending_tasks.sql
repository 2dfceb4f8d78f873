-- Nobody holds them, and somebody has to say that they have ended.
SELECT id, run, link, ref, root, scheduled_at, owner, claims, crashes, deaths, cancelling, void, call
FROM tasks
WHERE owner IS NULL AND cancelling = 1 AND (?1 IS NULL OR root = ?1)
LIMIT 100
