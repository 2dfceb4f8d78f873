SELECT number, kind, link, ref, time, data
FROM outlive.chunks
WHERE run = $1 AND stream = $2 AND number >= $3 AND NOT void
ORDER BY number
LIMIT $4
