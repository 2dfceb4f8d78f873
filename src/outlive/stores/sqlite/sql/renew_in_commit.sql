-- As renew, and a stamp of the commit.
UPDATE workers
SET lease_until = ?2 + lease, commits = commits + 1
WHERE id = ?1 AND lease_until > ?2
RETURNING commits
