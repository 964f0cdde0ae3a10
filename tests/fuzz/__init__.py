"""Coverage-guided fuzzing of every parser that meets foreign bytes: `make fuzz`."""
