SELECT
    r.id, r.link, r.workflow, r.status, r.seq, r.time, r.epoch, r.owner, r.wake_at, r.crashes, r.created_at, r.ended_at, r.root, r.parent, r.tags, r.input_digest, r.reason, r.fingerprint, r.queue
FROM outlive.runs AS r
WHERE r.id = $1
