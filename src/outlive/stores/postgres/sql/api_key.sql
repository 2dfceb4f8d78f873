SELECT id, hash, name, role, created_at, expires_at, used_at FROM outlive.api_keys WHERE hash = $1
