SELECT min(wake_at)
FROM outlive.runs
WHERE root = $2 AND owner IS NULL AND wake_at IS NOT NULL AND workflow = ANY($1::text[])
    AND ($3::text[] IS NULL OR queue = ANY($3))
