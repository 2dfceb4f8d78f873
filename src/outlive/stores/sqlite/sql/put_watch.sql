INSERT OR IGNORE INTO watches (target, run, link, ref) VALUES (?1, ?2, ?3, ?4)
