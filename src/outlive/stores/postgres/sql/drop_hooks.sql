WITH gone AS (
    SELECT * FROM unnest($1::text[], $2::bigint[], $3::bigint[]) AS w (run, link, ref)
), ended AS (
    INSERT INTO outlive.ended_hooks (token_hash, run)
    SELECT h.token_hash, h.run
    FROM outlive.hooks AS h
    JOIN gone ON h.run = gone.run AND h.link = gone.link AND h.ref = gone.ref
    WHERE h.webhook <> ''
    ON CONFLICT DO NOTHING
)
DELETE FROM outlive.hooks AS h USING gone WHERE h.run = gone.run AND h.link = gone.link AND h.ref = gone.ref
