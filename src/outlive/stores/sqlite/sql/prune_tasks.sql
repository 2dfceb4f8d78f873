DELETE FROM tasks WHERE run = ?1
