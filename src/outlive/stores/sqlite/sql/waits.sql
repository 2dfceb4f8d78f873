SELECT run, link, ref, kind, due FROM waits WHERE run = ?1 ORDER BY due, ref
