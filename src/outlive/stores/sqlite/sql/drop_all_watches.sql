DELETE FROM watches WHERE run = ?1
