"""A whole federation on one machine: real processes, real TLS, real images, measured arms."""
