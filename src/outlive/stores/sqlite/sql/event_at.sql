SELECT event FROM events WHERE run = ?1 AND link = ?2 AND seq = ?3
