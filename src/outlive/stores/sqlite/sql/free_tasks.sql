-- ?2: 1 if only this task can have killed its worker.
UPDATE tasks SET owner = NULL, crashes = crashes + ?2 WHERE owner = ?1
