SELECT token_hash, ref FROM hooks WHERE run = ?1 AND token <> ''
