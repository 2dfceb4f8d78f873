-- Tasks that a worker holds, its runs, and those of them that had done nothing since it took them (R31): two are enough to know that
-- none is the only one.
SELECT
    (SELECT count(*) FROM (SELECT 1 FROM tasks WHERE owner = ?1 LIMIT 2)),
    (SELECT count(*) FROM (SELECT 1 FROM runs WHERE owner = ?1 LIMIT 2)),
    (SELECT count(*) FROM (SELECT 1 FROM runs WHERE owner = ?1 AND progress = 0 LIMIT 2))
