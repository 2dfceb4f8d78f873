SELECT token_hash FROM outlive.ended_hooks WHERE token_hash = ANY($1::text[])
