-- Two are enough to know that none is the only one (R31).
SELECT id FROM runs WHERE owner = ?1 AND progress = 0 LIMIT 2
