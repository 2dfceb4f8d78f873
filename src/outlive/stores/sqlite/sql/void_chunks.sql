UPDATE chunks INDEXED BY chunks_writer SET void = 1 WHERE run = ?1 AND link = ?2 AND ref = ?3 AND NOT void AND ref > 0
