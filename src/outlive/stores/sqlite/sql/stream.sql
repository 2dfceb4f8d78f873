SELECT
    (SELECT number + 1 FROM chunks WHERE run = ?1 AND stream = ?2 ORDER BY number DESC LIMIT 1),
    (SELECT time FROM chunks WHERE run = ?1 AND stream = ?2 ORDER BY number LIMIT 1),
    (SELECT time FROM chunks WHERE run = ?1 AND stream = ?2 ORDER BY number DESC LIMIT 1),
    EXISTS (SELECT 1 FROM chunks WHERE run = ?1 AND stream = ?2 AND kind = 'close' AND NOT void)
