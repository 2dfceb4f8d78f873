INSERT INTO outlive.watches (target, run, link, ref)
SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[])
ON CONFLICT DO NOTHING
