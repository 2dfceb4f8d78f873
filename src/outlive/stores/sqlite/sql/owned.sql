SELECT id FROM runs WHERE owner = ?1 ORDER BY id
