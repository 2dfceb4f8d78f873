-- The order of their ids is that in which they were given.
WITH new AS (
    SELECT *
    FROM unnest(
        $1::text[], $2::bigint[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::bigint[], $8::double precision[], $9::text[]
    ) WITH ORDINALITY AS w (run, link, ref, root, queue, name, priority, scheduled_at, call, number)
), queues AS (
    INSERT INTO outlive.queues (name) SELECT DISTINCT queue FROM new ORDER BY queue ON CONFLICT DO NOTHING
), steps AS (
    INSERT INTO outlive.queued_steps (name, queue)
    SELECT DISTINCT name, queue FROM new ORDER BY name, queue
    ON CONFLICT DO NOTHING
)
INSERT INTO outlive.tasks (run, link, ref, root, queue, name, priority, scheduled_at, call)
SELECT run, link, ref, root, queue, name, priority, scheduled_at, call
FROM new
ORDER BY number
