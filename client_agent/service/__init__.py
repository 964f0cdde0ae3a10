"""`ff-agent serve`: what keeps a site in step by itself."""
