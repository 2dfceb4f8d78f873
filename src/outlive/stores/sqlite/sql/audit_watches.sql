SELECT run, link, ref FROM watches WHERE run = ?1
