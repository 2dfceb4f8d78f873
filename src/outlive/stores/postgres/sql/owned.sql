SELECT id FROM outlive.runs WHERE owner = $1 ORDER BY id
