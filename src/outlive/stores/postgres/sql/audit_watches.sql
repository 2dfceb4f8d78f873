SELECT run, link, ref FROM outlive.watches WHERE run = $1
