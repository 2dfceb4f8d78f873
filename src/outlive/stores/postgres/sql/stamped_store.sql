-- It waits for a transaction that is still under way.
SELECT number FROM outlive.commits WHERE store = $1 FOR UPDATE
