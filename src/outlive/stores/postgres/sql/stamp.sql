INSERT INTO outlive.commits AS c (store, number, time) VALUES ($1, 1, $2)
ON CONFLICT (store) DO UPDATE SET number = c.number + 1, time = excluded.time
RETURNING number
