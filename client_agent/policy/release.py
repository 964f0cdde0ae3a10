"""What an own module must fulfil before it may leave this site."""

from ff_protocol.schema import Strict


class ReleasePolicy(Strict):
    """Section `release` of `policy.yaml`."""
