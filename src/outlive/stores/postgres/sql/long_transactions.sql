-- Transactions that keep the server from clearing away old row versions. Of other users' sessions only those with the right see much.
SELECT pid, coalesce(usename, ''), coalesce(application_name, ''), extract(epoch FROM clock_timestamp() - xact_start)::double precision
FROM pg_catalog.pg_stat_activity
WHERE backend_xmin IS NOT NULL AND datname = current_database() AND xact_start < clock_timestamp() - make_interval(secs => $1)
ORDER BY xact_start
LIMIT 3
