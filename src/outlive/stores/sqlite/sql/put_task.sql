INSERT INTO tasks (run, link, ref, root, queue, name, priority, scheduled_at, call)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
