"""One file per `ff-agent` command: options in, a step called, its result shown."""
