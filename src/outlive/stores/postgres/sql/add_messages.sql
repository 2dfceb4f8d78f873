INSERT INTO outlive.inbox (id, run, link, ref, kind, accepted, token_hash, body)
SELECT *
FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::bigint[], $5::text[], $6::double precision[], $7::text[], $8::text[])
