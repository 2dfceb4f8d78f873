-- One that another run holds is left alone: fewer rows come back then.
INSERT INTO outlive.hooks AS h (token_hash, run, link, ref, token, schema, created_at, webhook)
SELECT *
FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::text[], $6::text[], $7::double precision[], $8::text[])
ORDER BY 1
ON CONFLICT (token_hash) DO UPDATE
SET
    link = excluded.link, ref = excluded.ref, token = excluded.token, schema = excluded.schema,
    created_at = excluded.created_at, webhook = excluded.webhook
WHERE h.run = excluded.run
RETURNING 1
