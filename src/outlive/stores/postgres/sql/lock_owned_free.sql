-- But for those that a transaction holds which is not ours.
SELECT id, progress FROM outlive.runs WHERE owner = $1 ORDER BY id FOR NO KEY UPDATE SKIP LOCKED
