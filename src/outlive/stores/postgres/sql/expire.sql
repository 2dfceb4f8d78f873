UPDATE outlive.workers SET lease_until = 0 WHERE id = $1
