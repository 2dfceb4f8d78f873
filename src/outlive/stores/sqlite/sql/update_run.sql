-- Fenced by the epoch and seq that were read.
UPDATE runs
SET
    link = ?2, workflow = ?3, status = ?4, seq = ?5, time = ?6, epoch = ?7, owner = ?8, wake_at = ?9,
    crashes = ?10, suspect = ?11, progress = ?12, takeover = ?13, root = ?14,
    input_digest = ?15, ended_at = ?16, reason = ?17, fingerprint = ?18, tried = ?19
WHERE id = ?1 AND epoch = ?20 AND seq = ?21
