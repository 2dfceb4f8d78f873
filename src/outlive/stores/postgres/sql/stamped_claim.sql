SELECT claims FROM outlive.workers WHERE id = $1 FOR UPDATE
