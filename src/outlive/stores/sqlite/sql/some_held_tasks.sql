-- Two are enough to know that none is the only one (R31).
SELECT id FROM tasks WHERE owner = ?1 LIMIT 2
