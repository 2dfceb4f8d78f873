DELETE FROM watches WHERE target = ?1 RETURNING run, link, ref
