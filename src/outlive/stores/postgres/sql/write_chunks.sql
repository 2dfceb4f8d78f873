INSERT INTO outlive.chunks (run, stream, number, kind, link, ref, time, void, data)
SELECT *
FROM unnest(
    $1::text[], $2::text[], $3::bigint[], $4::text[], $5::bigint[], $6::bigint[], $7::double precision[], $8::boolean[],
    $9::bytea[]
)
