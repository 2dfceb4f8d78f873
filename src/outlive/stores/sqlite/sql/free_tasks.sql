-- ?2: 1 if its worker died; ?3: 1 if only this task can have killed it.
UPDATE tasks SET owner = NULL, deaths = deaths + ?2, crashes = crashes + ?3 WHERE owner = ?1
