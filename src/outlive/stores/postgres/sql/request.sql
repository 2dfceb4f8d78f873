SELECT answer FROM outlive.requests WHERE id = $1
