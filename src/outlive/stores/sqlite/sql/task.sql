SELECT id, run, link, ref, root, scheduled_at, owner, claims, crashes, deaths, cancelling, void, call
FROM tasks
WHERE run = ?1 AND link = ?2 AND ref = ?3
