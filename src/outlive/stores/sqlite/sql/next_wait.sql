SELECT min(due) FROM waits WHERE run = ?1
