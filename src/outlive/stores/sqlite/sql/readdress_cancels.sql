UPDATE inbox SET link = ?2 WHERE run = ?1 AND kind = 'cancel'
