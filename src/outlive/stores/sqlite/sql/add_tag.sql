INSERT OR IGNORE INTO tags (tag, created_at, run) VALUES (?1, ?2, ?3)
