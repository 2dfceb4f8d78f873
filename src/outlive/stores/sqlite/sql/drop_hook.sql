DELETE FROM hooks WHERE run = ?1 AND ref = ?3 AND link = ?2
