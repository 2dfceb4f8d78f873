INSERT OR REPLACE INTO services (worker, queues, workflows, steps) VALUES (?1, ?2, ?3, ?4)
