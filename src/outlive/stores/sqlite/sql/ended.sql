SELECT id FROM runs WHERE ended_at < ?1 LIMIT ?2
