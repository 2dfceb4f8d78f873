-- Those whose last try was by this very code are stepped over by the index (two ranges around its fingerprint),
-- those which it tried before that by instr; those for another Python (R23) by its name, with which ?2 begins.
SELECT r.id
FROM json_each(?1) AS w
CROSS JOIN runs AS r
WHERE r.id IN (
    SELECT before.id
    FROM runs AS before
    WHERE
        before.workflow = w.value AND before.status = 'parked' AND before.fingerprint < ?2
        AND instr(char(10) || before.tried || char(10), char(10) || ?2 || char(10)) = 0
        AND (substr(before.fingerprint, 1, 7) <> 'python ' OR substr(before.fingerprint, 8) = substr(?2, 1, instr(?2, '-') - 1))
        AND (?4 IS NULL OR before.root = ?4) AND (?5 IS NULL OR before.queue IN (SELECT value FROM json_each(?5)))
    UNION ALL
    SELECT after.id
    FROM runs AS after
    WHERE
        after.workflow = w.value AND after.status = 'parked' AND after.fingerprint > ?2
        AND instr(char(10) || after.tried || char(10), char(10) || ?2 || char(10)) = 0
        AND (substr(after.fingerprint, 1, 7) <> 'python ' OR substr(after.fingerprint, 8) = substr(?2, 1, instr(?2, '-') - 1))
        AND (?4 IS NULL OR after.root = ?4) AND (?5 IS NULL OR after.queue IN (SELECT value FROM json_each(?5)))
    LIMIT ?3
)
LIMIT ?3
