SELECT run, link, ref, kind, due FROM outlive.waits WHERE run = $1 ORDER BY due, ref
