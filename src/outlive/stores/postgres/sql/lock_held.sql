SELECT run FROM outlive.tasks WHERE owner = $1 ORDER BY run, link, ref FOR UPDATE
