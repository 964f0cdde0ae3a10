"""What a foreign module must fulfil at this site, beyond the federation's own rules."""

from ff_protocol.schema import Strict


class AdmissionPolicy(Strict):
    """Section `admission` of `policy.yaml`."""
