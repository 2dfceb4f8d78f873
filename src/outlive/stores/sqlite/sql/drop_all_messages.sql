DELETE FROM inbox WHERE run = ?1 AND link <> ?2
