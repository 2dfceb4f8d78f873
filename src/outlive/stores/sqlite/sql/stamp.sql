INSERT INTO commits (store, number, time) VALUES (?1, 1, ?2)
ON CONFLICT DO UPDATE SET number = number + 1, time = ?2
RETURNING number
