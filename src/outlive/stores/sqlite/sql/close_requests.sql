UPDATE requests SET answer = '' WHERE run = ?1 AND answer IS NULL
