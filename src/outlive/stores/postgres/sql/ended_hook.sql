SELECT EXISTS (SELECT 1 FROM outlive.ended_hooks WHERE token_hash = $1)
