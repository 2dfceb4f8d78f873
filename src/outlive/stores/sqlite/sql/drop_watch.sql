DELETE FROM watches WHERE run = ?1 AND ref = ?2
