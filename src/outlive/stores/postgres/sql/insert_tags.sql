INSERT INTO outlive.tags (tag, created_at, run)
SELECT * FROM unnest($1::text[], $2::double precision[], $3::text[])
ON CONFLICT DO NOTHING
