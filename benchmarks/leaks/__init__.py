"""Planted leaks: generators that give their training images away in known ways, and honest ones."""
