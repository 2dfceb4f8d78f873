-- One after the other: who counts the slots of a queue counts those that others have just taken.
SELECT name, most FROM outlive.queues WHERE name = ANY($1::text[]) AND most IS NOT NULL ORDER BY name FOR UPDATE
