DELETE FROM outlive.workers WHERE id = $1
