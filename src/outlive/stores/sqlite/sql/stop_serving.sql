DELETE FROM services WHERE worker = ?1
