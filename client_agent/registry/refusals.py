"""Objects that were refused, with the reason, so that they are not fetched again at every call."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from client_agent.home import Home
from client_agent.registry.position import forget_position
from ff_protocol import canonical
from ff_protocol.files import read_bounded, write_atomically
from ff_protocol.stopping import raise_if_stopped

_MAX_BYTES = 8192  # 1000 characters, each escaped in six bytes, and the rest


@dataclass(frozen=True)
class Refusal:
    """Why an object was refused: a line for people and the rule's stable identifier, if any."""

    reason: str
    code: str | None = None


def remember_refusal(home: Home, digest: str, reason: str, code: str | None = None) -> None:
    """Keep that the object with this SHA-256 was refused."""
    raise_if_stopped()
    refusal = Refusal(reason[:1000], code)
    write_atomically(home.refusals / f"{digest}.json", canonical.dumps(asdict(refusal)))


def forget_refusal(home: Home, digest: str) -> None:
    """Let the object be fetched and judged again; the coordinator is asked for all anew."""
    forget_position(home)
    (home.refusals / f"{digest}.json").unlink(missing_ok=True)


def refusals(home: Home) -> dict[str, Refusal]:
    """Return every refused digest with its reason."""
    if not home.refusals.is_dir():
        return {}
    return {path.stem: _read(path) for path in sorted(home.refusals.glob("*.json"))}


def forget_refusals(home: Home, digests: Iterable[str]) -> None:
    """Have these objects judged anew: what stood against them does not any more."""
    forget_position(home)
    for digest in digests:
        (home.refusals / f"{digest}.json").unlink(missing_ok=True)


def _read(path: Path) -> Refusal:
    data = read_bounded(path, _MAX_BYTES, "refusal")
    value = canonical.loads(data, max_bytes=_MAX_BYTES, what="refusal")
    return Refusal(value["reason"], value.get("code"))
