DELETE FROM ended_hooks WHERE run = ?1
