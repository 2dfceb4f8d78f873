UPDATE outlive.runs AS r
SET
    link = w.link, workflow = w.workflow, status = w.status, seq = w.seq, time = w.time, epoch = w.epoch, owner = w.owner,
    wake_at = w.wake_at, crashes = w.crashes, suspect = w.suspect, progress = w.progress, takeover = w.takeover,
    root = w.root, input_digest = w.input_digest, ended_at = w.ended_at, reason = w.reason,
    fingerprint = w.fingerprint, tried = w.tried
FROM unnest(
    $1::text[], $2::bigint[], $3::text[], $4::text[], $5::bigint[], $6::double precision[], $7::bigint[], $8::text[],
    $9::double precision[], $10::bigint[], $11::boolean[], $12::boolean[], $13::boolean[], $14::text[], $15::text[],
    $16::double precision[], $17::text[], $18::text[], $19::text[]
) AS w (
    id, link, workflow, status, seq, time, epoch, owner, wake_at, crashes, suspect, progress, takeover, root,
    input_digest, ended_at, reason, fingerprint, tried
)
WHERE r.id = w.id
RETURNING 1
