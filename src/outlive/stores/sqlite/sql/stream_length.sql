SELECT number + 1 FROM chunks WHERE run = ?1 AND stream = ?2 ORDER BY number DESC LIMIT 1
