-- Of runs that have ended everything goes.
WITH events AS (
    DELETE FROM outlive.events WHERE run = ANY($1::text[])
), tags AS (
    DELETE FROM outlive.tags WHERE run = ANY($1::text[])
), keys AS (
    DELETE FROM outlive.keys WHERE run = ANY($1::text[])
), chunks AS (
    DELETE FROM outlive.chunks WHERE run = ANY($1::text[])
), requests AS (
    DELETE FROM outlive.requests WHERE run = ANY($1::text[])
), results AS (
    DELETE FROM outlive.results WHERE run = ANY($1::text[])
), tasks AS (
    DELETE FROM outlive.tasks WHERE run = ANY($1::text[])
), ended AS (
    DELETE FROM outlive.ended_hooks WHERE run = ANY($1::text[])
)
DELETE FROM outlive.runs WHERE id = ANY($1::text[])
