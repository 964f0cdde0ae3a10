"""Scripts that reproduce every published figure: `python -m benchmarks --help`."""
