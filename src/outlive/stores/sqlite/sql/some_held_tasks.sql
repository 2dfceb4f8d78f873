-- Two are enough to know that none is the only one (R31).
SELECT deaths FROM tasks WHERE owner = ?1 LIMIT 2
