"""Train a small diffusion generator of one class, and sample from it."""
