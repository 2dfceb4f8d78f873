INSERT INTO outlive.services (worker, queues, workflows, steps) VALUES ($1, $2, $3, $4)
ON CONFLICT (worker) DO UPDATE SET queues = excluded.queues, workflows = excluded.workflows, steps = excluded.steps
