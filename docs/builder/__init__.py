"""Builds the documentation site from docs/, which stays readable without it.

`python -m docs.builder` writes site/; `--references` writes docs/reference/ afresh from the code.
"""
