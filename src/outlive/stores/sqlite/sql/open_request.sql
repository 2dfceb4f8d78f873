INSERT OR IGNORE INTO requests (id, run, time, answer) VALUES (?1, ?2, ?3, NULL)
