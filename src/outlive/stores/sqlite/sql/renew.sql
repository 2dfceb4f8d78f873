-- Strictly: a lease that has ended can't be renewed, even before anybody has noticed.
UPDATE workers
SET lease_until = ?2 + lease
WHERE id = ?1 AND lease_until > ?2
