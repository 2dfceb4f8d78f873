DELETE FROM tasks WHERE run = ?1 AND owner IS NULL
