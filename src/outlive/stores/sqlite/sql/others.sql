SELECT id, lease_until FROM workers WHERE id <> ?1
