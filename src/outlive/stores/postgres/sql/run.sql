SELECT
    id, link, workflow, status, seq, time, epoch, owner, wake_at, crashes, suspect, progress, takeover, root,
    input_digest, ended_at, reason, fingerprint, tried
FROM outlive.runs
WHERE id = $1
