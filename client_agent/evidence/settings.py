"""Every number of the evidence: noise levels and how much it counts. Runs: docs/recipe.md."""

LEVELS = (0.07, 0.14, 0.28)
"""Standard deviations of the noise, for images in [-1, 1], whose own is about 0.25. Lower ones ask
for texture that short training has not learnt, higher ones leave too little of the image."""

WEIGHT = 8.0
"""Factor of the sum over the levels of ln(error). A Gaussian likelihood would have half the number
of pixels, which makes every answer certain."""

CLASSIFIER_WEIGHT = 0.5
"""Exponent of the classifier's probabilities beside it: on real images a classifier of synthetic
ones is surer than it should be. Of 28 pairs of weights this one has the lowest -ln p on validation
images, mean over five federations."""

LEAST_ERROR = 1e-7
"""Mean squared errors below count as this: a constant class, restored without a fault."""
