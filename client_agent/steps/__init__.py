"""The site's verbs as functions: what the command line calls and a notebook could."""
