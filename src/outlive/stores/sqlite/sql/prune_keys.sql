DELETE FROM keys WHERE run = ?1
