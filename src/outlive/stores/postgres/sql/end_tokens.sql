INSERT INTO outlive.ended_hooks (token_hash, run) SELECT * FROM unnest($1::text[], $2::text[]) ON CONFLICT DO NOTHING
