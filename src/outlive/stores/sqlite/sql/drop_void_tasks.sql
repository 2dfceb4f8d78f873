DELETE FROM tasks WHERE owner = ?1 AND void
