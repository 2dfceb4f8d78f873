SELECT queue, count(*) FROM outlive.tasks WHERE queue = ANY($1::text[]) AND owner IS NOT NULL GROUP BY queue
