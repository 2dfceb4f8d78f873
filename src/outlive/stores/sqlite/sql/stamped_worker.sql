SELECT commits FROM workers WHERE id = ?1
