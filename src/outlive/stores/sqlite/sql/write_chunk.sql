INSERT INTO chunks (run, stream, number, kind, link, ref, time, void, data) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 0, ?8)
