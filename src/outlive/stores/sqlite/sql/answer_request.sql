UPDATE requests SET answer = ?2 WHERE id = ?1 AND answer IS NULL
