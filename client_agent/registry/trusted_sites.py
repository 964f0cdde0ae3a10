"""Sites whose modules the admin admits without asking: a list kept by `ff-agent trust`.

It lies beside `policy.yaml` and not in it: that file is the admin's, comments and all.
"""

from pydantic import Field

from client_agent.home import Home
from ff_protocol import canonical
from ff_protocol.files import read_bounded, write_atomically
from ff_protocol.limits import MAX_SPEC_BYTES
from ff_protocol.schema import Strict, parse


class _TrustFile(Strict):
    trusted: tuple[str, ...] = Field(default=(), max_length=10_000)


def trusted_sites(home: Home) -> frozenset[str]:
    """Return the trusted sites.

    Raises:
        SpecError, MalformedError: the file was damaged or edited by hand into something else.
    """
    path = home.trusted_sites
    if not path.is_file():
        return frozenset()
    data = read_bounded(path, MAX_SPEC_BYTES, "list")
    value = canonical.loads(data, max_bytes=MAX_SPEC_BYTES, what=path.name)
    return frozenset(parse(_TrustFile, value, path.name).trusted)


def store_trusted_sites(home: Home, sites: frozenset[str]) -> None:
    """Replace the list."""
    write_atomically(home.trusted_sites, canonical.dumps({"trusted": sorted(sites)}))
