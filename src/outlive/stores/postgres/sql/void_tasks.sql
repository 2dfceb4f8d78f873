-- What nobody holds goes; who holds one goes on for nobody.
WITH w AS (
    SELECT * FROM unnest($1::text[], $2::boolean[]) AS w (run, cancel)
), locked AS MATERIALIZED (
    SELECT t.id, t.owner, w.cancel
    FROM w
    JOIN outlive.tasks AS t ON t.run = w.run
    ORDER BY t.run, t.link, t.ref
    FOR UPDATE OF t
), gone AS (
    DELETE FROM outlive.tasks AS t USING locked AS l WHERE t.id = l.id AND l.owner IS NULL
)
UPDATE outlive.tasks AS t
SET void = true, cancelling = t.cancelling OR l.cancel
FROM locked AS l
WHERE t.id = l.id AND l.owner IS NOT NULL
