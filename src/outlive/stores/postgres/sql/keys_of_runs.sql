SELECT k.run, k.key, k.link, k.reply
FROM unnest($1::text[], $2::text[]) AS w (run, key)
JOIN outlive.keys AS k ON k.run = w.run AND k.key = w.key
