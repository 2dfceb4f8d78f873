-- $2: 1 if only this task can have killed its worker.
WITH gone AS (
    DELETE FROM outlive.tasks WHERE owner = $1 AND void
)
UPDATE outlive.tasks SET owner = NULL, crashes = crashes + $2 WHERE owner = $1 AND NOT void
