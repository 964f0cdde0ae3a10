"""Signed objects on a disk for sites that no network reaches: same objects, same checks."""
