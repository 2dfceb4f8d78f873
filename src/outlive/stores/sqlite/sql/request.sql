SELECT answer FROM requests WHERE id = ?1
