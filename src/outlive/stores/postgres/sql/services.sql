SELECT s.worker, s.queues, s.workflows, s.steps
FROM outlive.services AS s
JOIN outlive.workers AS w ON w.id = s.worker
WHERE w.lease_until > coalesce($1::double precision, extract(epoch FROM clock_timestamp())::double precision)
ORDER BY s.worker
