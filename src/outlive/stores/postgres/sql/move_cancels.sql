UPDATE outlive.inbox AS i
SET link = m.link
FROM unnest($1::text[], $2::bigint[]) AS m (run, link)
WHERE i.run = m.run AND i.kind = 'cancel'
