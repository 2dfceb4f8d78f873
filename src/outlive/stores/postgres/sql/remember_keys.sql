INSERT INTO outlive.keys (run, key, link, token_hash, time, reply)
SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::double precision[], $6::text[])
