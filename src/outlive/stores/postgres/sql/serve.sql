INSERT INTO outlive.services (worker, queues, workflows, steps)
SELECT id, $2::text, $3::text, $4::text FROM outlive.workers WHERE id = $1
ON CONFLICT (worker) DO UPDATE SET queues = excluded.queues, workflows = excluded.workflows, steps = excluded.steps
