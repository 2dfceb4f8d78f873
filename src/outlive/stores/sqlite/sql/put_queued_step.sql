INSERT OR IGNORE INTO queued_steps (queue, name) VALUES (?1, ?2)
