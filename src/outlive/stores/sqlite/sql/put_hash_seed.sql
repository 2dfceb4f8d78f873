INSERT OR IGNORE INTO meta (key, value) VALUES ('hash_seed', ?1)
