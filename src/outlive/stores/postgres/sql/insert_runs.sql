INSERT INTO outlive.runs (
    id, link, workflow, status, seq, time, epoch, owner, wake_at, crashes, suspect, progress, takeover, root,
    input_digest, ended_at, reason, fingerprint, tried, created_at, parent, tags, queue
)
SELECT *
FROM unnest(
    $1::text[], $2::bigint[], $3::text[], $4::text[], $5::bigint[], $6::double precision[], $7::bigint[], $8::text[],
    $9::double precision[], $10::bigint[], $11::boolean[], $12::boolean[], $13::boolean[], $14::text[], $15::text[],
    $16::double precision[], $17::text[], $18::text[], $19::text[], $20::double precision[], $21::text[], $22::text[], $23::text[]
) AS new (id)
ORDER BY 1
ON CONFLICT DO NOTHING
RETURNING 1
