SELECT s.worker, s.queues, s.workflows, s.steps
FROM services AS s
JOIN workers AS w ON w.id = s.worker
WHERE w.lease_until > ?1
ORDER BY s.worker
