SELECT run, link, ref, token, schema FROM hooks WHERE run = ?1
