"""Which layers confine modules on this machine, and telling people which are missing."""

from typing import Protocol

from client_agent.sandbox.confinement import ALL_LAYERS, Layer
from client_agent.sandbox.limits import Limits
from ff_protocol.limits import MIB

NEEDS = {
    Layer.LIMITS: "resource limits",
    Layer.NAMESPACES: "user and network namespaces that the system lets users make",
    Layer.LANDLOCK: "landlock: Linux 5.13 or later with landlock among its security modules",
    Layer.SECCOMP: "seccomp: Linux on x86-64 or aarch64",
}
"""What each layer needs, in words for whoever runs the machine."""

_seen: Layer | None = None
_told = False


def layers_in_force() -> frozenset[str]:
    """Return the names of the layers that confine a module on this machine.

    The names are `limits`, `namespaces`, `landlock` and `seccomp`. Asks a worker the first time;
    it takes an eighth of a second of computing.

    Raises:
        ResourceError: no worker starts on this machine.
    """
    return names(_seen if _seen is not None else _ask())


def names(layers: Layer) -> frozenset[str]:
    """Return the names of some layers."""
    return frozenset((layer.name or "").lower() for layer in layers)


def keeps_everything_in(in_force: frozenset[str]) -> bool:
    """Whether these layers leave a module neither a file nor a network, each of the two twice."""
    return "limits" in in_force and bool(in_force & {"landlock", "seccomp"})


def missing() -> tuple[str, ...]:
    """Return what the layers that are missing here need; as `layers_in_force`."""
    in_force = layers_in_force()
    return tuple(need for layer, need in NEEDS.items() if not names(layer) <= in_force)


class Notes(Protocol):
    """Something that takes a line for people."""

    def note(self, text: str) -> None:
        """Say one line."""


def note_missing(progress: Notes) -> None:
    """Say once what confines less than it could, if a module has been run and there is something.

    Args:
        progress: gets the note.
    """
    global _told
    if _seen is None or _told or _seen == ALL_LAYERS:
        return
    _told = True
    progress.note(
        "warning: modules run less confined than they could, this machine lacks "
        f"{'; '.join(missing())} (see ff-agent doctor)"
    )


def remember(layers: Layer) -> None:
    """Keep what a worker has said of itself."""
    global _seen
    _seen = layers


def _ask() -> Layer:
    from client_agent.sandbox.process import ModelProcess

    patience = 10.0
    worker = ModelProcess((1, 1, 1, 1), Limits(patience, patience, patience, 256 * MIB), lanes=1)
    worker.close()
    return worker.layers
