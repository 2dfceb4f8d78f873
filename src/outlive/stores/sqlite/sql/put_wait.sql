INSERT OR REPLACE INTO waits (run, link, ref, kind, due) VALUES (?1, ?2, ?3, ?4, ?5)
