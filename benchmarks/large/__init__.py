"""Federations of thousands of sites, made in minutes: real keys and statements, stub weights."""
