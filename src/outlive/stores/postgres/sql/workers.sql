SELECT id FROM outlive.workers
