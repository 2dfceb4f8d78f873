DELETE FROM waits WHERE run = ?1 AND ref = ?2
