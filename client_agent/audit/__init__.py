"""What a generator gives away about its training images, and how good its images are."""
