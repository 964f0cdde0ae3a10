"""Objects that were refused, with the reason, so that they are not fetched again at every call."""

from collections.abc import Iterable

from client_agent.home import Home
from ff_protocol import canonical
from ff_protocol.files import read_bounded, write_atomically

_MAX_BYTES = 4096


def remember_refusal(home: Home, digest: str, reason: str) -> None:
    """Keep that the object with this SHA-256 was refused."""
    write_atomically(home.refusals / f"{digest}.json", canonical.dumps({"reason": reason[:1000]}))


def refusals(home: Home) -> dict[str, str]:
    """Return every refused digest with its reason."""
    if not home.refusals.is_dir():
        return {}
    return {
        path.stem: canonical.loads(
            read_bounded(path, _MAX_BYTES, "refusal"), max_bytes=_MAX_BYTES, what="refusal"
        )["reason"]
        for path in sorted(home.refusals.glob("*.json"))
    }


def forget_refusals(home: Home, digests: Iterable[str]) -> None:
    """Have these objects judged anew: what stood against them does not any more."""
    for digest in digests:
        (home.refusals / f"{digest}.json").unlink(missing_ok=True)
