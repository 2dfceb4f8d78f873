SELECT q.name, q.most, (SELECT count(*) FROM tasks AS t WHERE t.queue = q.name AND t.owner IS NOT NULL)
FROM queues AS q
WHERE q.most IS NOT NULL
