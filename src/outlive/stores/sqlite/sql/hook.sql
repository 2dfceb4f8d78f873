SELECT run, link, ref, token, schema, webhook FROM hooks WHERE token_hash = ?1
