-- Those that were tried by this very code, or are for another Python, are stepped over (R23, R32).
SELECT r.id
FROM outlive.runs AS r
WHERE
    r.workflow = ANY($1::text[]) AND r.status = 'parked' AND r.fingerprint <> $2
    AND strpos(chr(10) || r.tried || chr(10), chr(10) || $2 || chr(10)) = 0
    AND (left(r.fingerprint, 7) <> 'python ' OR substr(r.fingerprint, 8) = split_part($2, '-', 1))
    AND ($4::text IS NULL OR r.root = $4) AND ($5::text[] IS NULL OR r.queue = ANY($5))
LIMIT $3
FOR NO KEY UPDATE SKIP LOCKED
