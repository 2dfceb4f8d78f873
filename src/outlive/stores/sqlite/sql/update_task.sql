UPDATE tasks SET owner = ?4, claims = ?5, crashes = ?6, cancelling = ?7 WHERE run = ?1 AND link = ?2 AND ref = ?3
