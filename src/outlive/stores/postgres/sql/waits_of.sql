SELECT run, ref, due FROM outlive.waits WHERE run = ANY($1::text[])
