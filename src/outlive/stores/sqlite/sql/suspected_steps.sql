-- Which of the steps wait that workers have died with, and where. One look into the index for each queue that they have ever been in.
SELECT q.queue, q.name
FROM json_each(?1) AS w
CROSS JOIN queued_steps AS q ON q.name = w.value
WHERE EXISTS (
    SELECT 1 FROM tasks AS t
    WHERE t.queue = q.queue AND t.name = q.name AND t.owner IS NULL AND t.deaths > 0 AND NOT t.cancelling AND (?2 IS NULL OR t.root = ?2)
)
