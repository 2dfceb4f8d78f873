SELECT seq, time, event, worker, epoch
FROM outlive.events
WHERE run = $1 AND link = $2 AND seq > $3
ORDER BY seq
LIMIT $4
