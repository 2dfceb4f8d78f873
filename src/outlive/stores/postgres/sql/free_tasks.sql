-- $2: 1 if its worker died; $3: 1 if only this task can have killed it.
WITH gone AS (
    DELETE FROM outlive.tasks WHERE owner = $1 AND void
)
UPDATE outlive.tasks SET owner = NULL, deaths = deaths + $2, crashes = crashes + $3 WHERE owner = $1 AND NOT void
