INSERT INTO queues (name, most) VALUES (?1, ?2) ON CONFLICT DO UPDATE SET most = excluded.most
