INSERT INTO outlive.queues (name, most) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET most = excluded.most
