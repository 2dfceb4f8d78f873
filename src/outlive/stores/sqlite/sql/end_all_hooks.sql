INSERT OR IGNORE INTO ended_hooks (token_hash, run)
SELECT token_hash, run FROM hooks WHERE run = ?1 AND link <> ?2 AND webhook <> ''
