SELECT id, progress FROM outlive.runs WHERE owner = $1 ORDER BY id FOR NO KEY UPDATE
