INSERT OR REPLACE INTO hooks (token_hash, run, link, ref, token, schema, created_at, webhook)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
