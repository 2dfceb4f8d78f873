DELETE FROM tasks WHERE run = ?1 AND link = ?2 AND ref = ?3
