"""Evidence: what the modules themselves say of an image, asked without sampling them.

A module was trained to take noise out of images of one class. Whichever class's module restores an
image best, it is probably of that class (classification by the denoising error of diffusion models:
Li et al., arXiv 2303.16203; Clark and Jaini, arXiv 2303.15233). A few minutes of training leave a
denoiser that knows the class well before its samples look like it, so this finds what a classifier
that has seen samples only does not. Nothing is trained: a revoked module has no say from the moment
it is gone. `--evidence` of `predict` and `evaluate` multiplies both judgements.
"""
