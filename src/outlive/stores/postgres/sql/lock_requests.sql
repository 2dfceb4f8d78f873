SELECT id, run, answer FROM outlive.requests WHERE id = ANY($1::text[]) ORDER BY id FOR NO KEY UPDATE
