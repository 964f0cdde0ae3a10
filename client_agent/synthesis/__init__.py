"""Deterministic synthesis: noise, inference session, the shard store, the data set and its root."""
