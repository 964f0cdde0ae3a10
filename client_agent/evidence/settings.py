"""Every number of the evidence: noise levels and how much it counts. Runs: docs/benchmarks.md."""

LEVELS = (0.05, 0.1, 0.2)
"""Standard deviations of the noise, for images in [-1, 1], whose own is about 0.25. Lower ones ask
for texture that short training has not learnt, higher ones leave too little of the image."""

WEIGHT = 12.0
"""Factor of the sum over the levels of ln(error): how many independent pixels a level stands for.
As many as an image has would make every answer certain."""

LEAST_ERROR = 1e-7
"""Mean squared errors below count as this: a constant class, restored without a fault."""
