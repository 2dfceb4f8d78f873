INSERT INTO outlive.events (run, link, seq, time, worker, epoch, event)
SELECT * FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::double precision[], $5::text[], $6::bigint[], $7::text[])
