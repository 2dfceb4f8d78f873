-- ?3: 1 if its worker crashed, ?4: 1 if a single run is suspected of it.
UPDATE runs
SET
    owner = NULL,
    wake_at = ?2,
    takeover = 1,
    suspect = CASE WHEN ?3 AND NOT progress THEN 1 ELSE suspect END,
    crashes = crashes + CASE WHEN ?4 AND NOT progress THEN 1 ELSE 0 END
WHERE owner = ?1
