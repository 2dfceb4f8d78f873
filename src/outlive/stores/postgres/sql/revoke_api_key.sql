DELETE FROM outlive.api_keys WHERE id = $1 RETURNING 1
