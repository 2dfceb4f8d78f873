SELECT 'events', run FROM events WHERE run NOT IN (SELECT id FROM runs) GROUP BY run
UNION ALL
SELECT 'waits', run FROM waits WHERE run NOT IN (SELECT id FROM runs) GROUP BY run
UNION ALL
SELECT 'hooks', run FROM hooks WHERE run NOT IN (SELECT id FROM runs) GROUP BY run
UNION ALL
SELECT 'an inbox', run FROM inbox WHERE run NOT IN (SELECT id FROM runs) GROUP BY run
UNION ALL
SELECT 'watches', run FROM watches WHERE run NOT IN (SELECT id FROM runs) GROUP BY run
UNION ALL
SELECT 'tags', run FROM tags WHERE run NOT IN (SELECT id FROM runs) GROUP BY run
UNION ALL
SELECT 'chunks', run FROM chunks WHERE run NOT IN (SELECT id FROM runs) GROUP BY run
UNION ALL
SELECT 'requests', run FROM requests WHERE run NOT IN (SELECT id FROM runs) GROUP BY run
UNION ALL
SELECT 'ended webhooks', run FROM ended_hooks WHERE run NOT IN (SELECT id FROM runs) GROUP BY run
UNION ALL
SELECT 'tasks', run FROM tasks WHERE run NOT IN (SELECT id FROM runs) GROUP BY run
