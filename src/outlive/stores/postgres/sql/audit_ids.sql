SELECT id FROM outlive.runs WHERE id > $1 ORDER BY id LIMIT 200
