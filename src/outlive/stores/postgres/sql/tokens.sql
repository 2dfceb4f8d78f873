SELECT token_hash, run, link, ref, token, schema, webhook FROM outlive.hooks WHERE token_hash = ANY($1::text[])
