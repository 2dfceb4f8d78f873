-- Hooks and the payloads for them belong to another link and ref now.
WITH moved AS (
    SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[]) AS w (token_hash, run, link, ref)
), payloads AS (
    UPDATE outlive.inbox AS i SET link = m.link, ref = m.ref FROM moved AS m WHERE i.run = m.run AND i.token_hash = m.token_hash
)
UPDATE outlive.hooks AS h SET link = m.link, ref = m.ref FROM moved AS m WHERE h.token_hash = m.token_hash
