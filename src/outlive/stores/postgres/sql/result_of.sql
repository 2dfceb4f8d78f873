SELECT result FROM outlive.results WHERE step_id = $1
