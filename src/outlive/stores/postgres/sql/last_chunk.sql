-- Where the $3 last values of a stream begin.
SELECT number
FROM outlive.chunks
WHERE run = $1 AND stream = $2 AND NOT void AND kind IN ('value', 'bytes')
ORDER BY number DESC
LIMIT 1 OFFSET $3 - 1
