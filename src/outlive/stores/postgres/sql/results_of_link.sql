-- What transactions have left for its steps; those of code of the version before left no events.
SELECT event, result
FROM outlive.results
WHERE run = $1 AND starts_with(step_id, $1 || '/' || $2::bigint || '/') AND event IS NOT NULL
ORDER BY time
