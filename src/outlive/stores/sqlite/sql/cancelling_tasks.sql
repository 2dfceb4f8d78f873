SELECT run, link, ref FROM tasks WHERE owner = ?1 AND cancelling
