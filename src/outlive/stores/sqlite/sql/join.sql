INSERT INTO workers (id, lease, lease_until, joined_at) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING
