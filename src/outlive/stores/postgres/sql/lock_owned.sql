SELECT id, progress, suspect FROM outlive.runs WHERE owner = $1 ORDER BY id FOR NO KEY UPDATE
