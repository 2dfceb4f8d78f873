UPDATE tasks SET void = 1, cancelling = cancelling OR ?2 WHERE run = ?1
