-- A payload with ref 0 is held for a link that has not opened its hook yet: nobody can take it.
SELECT EXISTS (SELECT 1 FROM inbox WHERE run = ?1 AND NOT (kind = 'payload' AND ref = 0))
