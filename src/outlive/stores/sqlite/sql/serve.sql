-- Not of a worker that is gone: nobody would remove it.
INSERT OR REPLACE INTO services (worker, queues, workflows, steps)
SELECT id, ?2, ?3, ?4 FROM workers WHERE id = ?1
