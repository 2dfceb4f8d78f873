SELECT target, run, link, ref FROM outlive.watches WHERE target = ANY($1::text[]) ORDER BY target, run, link, ref
