DELETE FROM inbox WHERE id = ?2 AND run = ?1
