-- What an ordinary event changes: no indexed column. Fenced by owner, epoch, link and seq.
UPDATE runs
SET seq = ?5, time = ?6, progress = ?7, crashes = ?8, suspect = ?9, tried = ?10
WHERE id = ?1 AND link = ?2 AND epoch = ?3 AND seq = ?4 AND owner = ?11
