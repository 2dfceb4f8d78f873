-- $3: its worker crashed, $4: a single run is suspected of it.
UPDATE outlive.runs
SET
    owner = NULL,
    wake_at = $2,
    takeover = true,
    suspect = suspect OR ($3 AND NOT progress),
    crashes = crashes + CASE WHEN $4 AND NOT progress THEN 1 ELSE 0 END
WHERE owner = $1
