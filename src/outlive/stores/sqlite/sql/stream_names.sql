-- One step along the index for each stream, however long they are.
WITH RECURSIVE names (name) AS (
    SELECT min(stream) FROM chunks WHERE run = ?1
    UNION ALL
    SELECT (SELECT min(stream) FROM chunks WHERE run = ?1 AND stream > names.name) FROM names WHERE names.name IS NOT NULL
)
SELECT name FROM names WHERE name IS NOT NULL
