-- Runs that had done nothing since their worker took them; and whether they may have killed one before (R31).
SELECT suspect FROM runs WHERE owner = ?1 AND progress = 0
