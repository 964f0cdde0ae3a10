"""Faults of a transfer that do not depend on what carries it."""

from client_agent.errors import NetworkError


class DamagedTransferError(NetworkError):
    """The source sent other bytes than were asked for, or lacks what it announced."""

    transient = False
