-- Links that have ended, runs that have: each in another table, so one statement may do them all.
WITH gone AS (
    SELECT * FROM unnest($1::text[], $2::bigint[]) AS w (run, link)
), waits AS (
    DELETE FROM outlive.waits AS w USING gone WHERE w.run = gone.run
), watches AS (
    DELETE FROM outlive.watches AS w USING gone WHERE w.run = gone.run
), watched AS (
    DELETE FROM outlive.watches AS w WHERE w.target = ANY($3::text[])
), ended AS (
    INSERT INTO outlive.ended_hooks (token_hash, run)
    SELECT h.token_hash, h.run
    FROM outlive.hooks AS h
    JOIN gone ON h.run = gone.run AND h.link <> gone.link
    WHERE h.webhook <> ''
    ON CONFLICT DO NOTHING
), hooks AS (
    DELETE FROM outlive.hooks AS h USING gone WHERE h.run = gone.run AND h.link <> gone.link
), results AS (
    DELETE FROM outlive.results AS s USING gone WHERE s.run = gone.run
), inbox AS (
    DELETE FROM outlive.inbox AS i USING gone WHERE i.run = gone.run AND i.link <> gone.link
)
UPDATE outlive.requests SET answer = '' WHERE run = ANY($4::text[]) AND answer IS NULL
