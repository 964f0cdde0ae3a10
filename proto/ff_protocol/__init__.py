"""The contract between a site's agent and the coordinator: formats, names, limits, trust rules.

Both sides import this package and never each other. It needs no numerical library.
"""

__version__ = "0.2.0"

PROTOCOL_VERSION = 1
"""Version of the wire (proto/relay.proto): both sides of a connection must have the same."""
