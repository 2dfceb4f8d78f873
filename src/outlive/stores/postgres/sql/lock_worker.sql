SELECT id FROM outlive.workers WHERE id = $1 FOR UPDATE
