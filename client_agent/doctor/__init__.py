"""Finding out which of many things is wrong between a site and its coordinator."""
