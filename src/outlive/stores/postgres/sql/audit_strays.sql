SELECT 'events', s.run FROM outlive.events AS s WHERE NOT EXISTS (SELECT 1 FROM outlive.runs AS r WHERE r.id = s.run) GROUP BY s.run
UNION ALL
SELECT 'waits', s.run FROM outlive.waits AS s WHERE NOT EXISTS (SELECT 1 FROM outlive.runs AS r WHERE r.id = s.run) GROUP BY s.run
UNION ALL
SELECT 'hooks', s.run FROM outlive.hooks AS s WHERE NOT EXISTS (SELECT 1 FROM outlive.runs AS r WHERE r.id = s.run) GROUP BY s.run
UNION ALL
SELECT 'an inbox', s.run FROM outlive.inbox AS s WHERE NOT EXISTS (SELECT 1 FROM outlive.runs AS r WHERE r.id = s.run) GROUP BY s.run
UNION ALL
SELECT 'watches', s.run FROM outlive.watches AS s WHERE NOT EXISTS (SELECT 1 FROM outlive.runs AS r WHERE r.id = s.run) GROUP BY s.run
UNION ALL
SELECT 'tags', s.run FROM outlive.tags AS s WHERE NOT EXISTS (SELECT 1 FROM outlive.runs AS r WHERE r.id = s.run) GROUP BY s.run
UNION ALL
SELECT 'chunks', s.run FROM outlive.chunks AS s WHERE NOT EXISTS (SELECT 1 FROM outlive.runs AS r WHERE r.id = s.run) GROUP BY s.run
UNION ALL
SELECT 'requests', s.run FROM outlive.requests AS s WHERE NOT EXISTS (SELECT 1 FROM outlive.runs AS r WHERE r.id = s.run) GROUP BY s.run
UNION ALL
SELECT 'ended webhooks', s.run FROM outlive.ended_hooks AS s WHERE NOT EXISTS (SELECT 1 FROM outlive.runs AS r WHERE r.id = s.run) GROUP BY s.run
UNION ALL
SELECT 'results', s.run FROM outlive.results AS s WHERE NOT EXISTS (SELECT 1 FROM outlive.runs AS r WHERE r.id = s.run) GROUP BY s.run
UNION ALL
SELECT 'tasks', s.run FROM outlive.tasks AS s WHERE NOT EXISTS (SELECT 1 FROM outlive.runs AS r WHERE r.id = s.run) GROUP BY s.run
