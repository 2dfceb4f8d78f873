SELECT k.token_hash, k.key, k.run, k.link, k.reply
FROM unnest($1::text[], $2::text[]) AS w (token_hash, key)
JOIN outlive.keys AS k ON k.token_hash = w.token_hash AND k.key = w.key
