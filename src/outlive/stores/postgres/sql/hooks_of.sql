SELECT token_hash, run, link, ref, token, schema, webhook FROM outlive.hooks WHERE run = ANY($1::text[]) ORDER BY ref
