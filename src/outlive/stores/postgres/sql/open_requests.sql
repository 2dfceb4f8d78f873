INSERT INTO outlive.requests (id, run, time)
SELECT * FROM unnest($1::text[], $2::text[], $3::double precision[])
ON CONFLICT DO NOTHING
