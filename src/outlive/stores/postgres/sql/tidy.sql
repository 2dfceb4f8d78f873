DELETE FROM outlive.commits WHERE store = $1 OR time < $2
