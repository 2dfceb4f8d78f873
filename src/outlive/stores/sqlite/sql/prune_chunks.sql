DELETE FROM chunks WHERE run = ?1
