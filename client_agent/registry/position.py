"""How far this site has read the coordinator's list of statements: so that it pays for news alone.

The position is the coordinator's word and opaque here; nothing is believed for it. It is kept only
after everything up to there was kept or refused for good, and dropped whenever it might skip
something: the next listing is then a whole one. What a coordinator skips by lying about positions
it could withhold anyway: the heads show that.
"""

from client_agent.home import Home
from ff_protocol import canonical
from ff_protocol.errors import FederatedFactoryError
from ff_protocol.files import read_bounded, write_atomically
from ff_protocol.limits import KIB, MAX_POSITION_BYTES


def read_position(home: Home) -> bytes:
    """Return the position to ask from, empty if all must be asked for.

    A home that holds fewer statements than when it was written has lost some: then it is void.
    """
    try:
        data = read_bounded(home.position, KIB, "position")
        value = canonical.loads(data, max_bytes=KIB, what=home.position.name)
        if count_statements(home) < value["statements"]:
            return b""
        return bytes.fromhex(value["position"])[:MAX_POSITION_BYTES]
    except (OSError, FederatedFactoryError, KeyError, TypeError, ValueError):
        return b""  # a whole listing does no harm


def store_position(home: Home, position: bytes) -> None:
    """Keep the position after a listing of which everything is kept."""
    value = {"position": position.hex(), "statements": count_statements(home)}
    write_atomically(home.position, canonical.dumps(value))


def forget_position(home: Home) -> None:
    """Have the next listing be a whole one."""
    home.position.unlink(missing_ok=True)


def count_statements(home: Home) -> int:
    """Return the number of publications and revocations held here."""
    folders = (home.publications, home.revocations)
    return sum(1 for folder in folders if folder.is_dir() for _ in folder.glob("*.dsse"))
