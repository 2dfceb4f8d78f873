SELECT id FROM outlive.workers WHERE id <> $1 AND lease_until <= $2 ORDER BY id FOR UPDATE SKIP LOCKED
