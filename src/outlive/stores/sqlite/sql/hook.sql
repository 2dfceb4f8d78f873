SELECT run, link, ref, token, schema FROM hooks WHERE token_hash = ?1
