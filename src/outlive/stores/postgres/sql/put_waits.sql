INSERT INTO outlive.waits (run, ref, link, kind, due)
SELECT * FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::text[], $5::double precision[])
ON CONFLICT (run, ref) DO UPDATE SET link = excluded.link, kind = excluded.kind, due = excluded.due
