SELECT 1 FROM workers WHERE id = ?1 AND lease_until > ?2
