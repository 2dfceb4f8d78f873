SELECT value FROM meta WHERE key = 'hash_seed'
