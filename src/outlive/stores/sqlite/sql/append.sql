INSERT INTO events (run, link, seq, time, worker, epoch, event) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
