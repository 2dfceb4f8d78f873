SELECT number FROM commits WHERE store = ?1
