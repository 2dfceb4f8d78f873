DELETE FROM hooks WHERE run = ?1 AND link <> ?2
