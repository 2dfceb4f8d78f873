INSERT INTO outlive.api_keys (id, hash, name, role, created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6)
