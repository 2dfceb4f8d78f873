DELETE FROM events WHERE run = ?1
