DELETE FROM outlive.inbox WHERE id = ANY($1::bigint[])
