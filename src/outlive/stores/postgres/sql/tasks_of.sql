SELECT id, run, link, ref, root, scheduled_at, owner, claims, crashes, deaths, cancelling, void, call
FROM outlive.tasks
WHERE run = $1
ORDER BY link, ref
