-- What a step wrote that stands, by stream, with its first chunk.
SELECT stream, min(number)
FROM chunks INDEXED BY chunks_writer
WHERE run = ?1 AND link = ?2 AND ref = ?3 AND NOT void AND ref > 0
GROUP BY stream
