"""Light work, with the home locked: take what is new, apply revocations, hand in what is due."""

from dataclasses import dataclass, field

from client_agent.errors import IdentityError, NetworkError
from client_agent.progress import Progress
from client_agent.registry.members import load_members
from client_agent.registry.revocations import load_revocations
from client_agent.relay.connection import open_relay
from client_agent.service.agenda import Task
from client_agent.site import Site
from client_agent.steps.apply import apply_revocations
from client_agent.steps.receive import Received, take_from_relay
from client_agent.steps.revoke import deliver_revocations, finish_unlearning
from client_agent.steps.send import send
from ff_protocol.clock import utc_now


@dataclass
class Memory:
    """What a round remembers of the rounds before it.

    Attributes:
        warned: what has been warned of: the record gets each line once, not once a round.
        delivered: number of own revocations that the coordinator is known to have.
    """

    warned: list[str] = field(default_factory=list)
    delivered: int = 0


def do_task(site: Site, task: Task, memory: Memory, progress: Progress, *, whole: bool) -> None:
    """Do one light task. The caller holds the home's lock.

    Args:
        site: whose.
        task: which.
        memory: of earlier rounds; brought up to date.
        progress: hears what was done.
        whole: compare everything, not only take what is new.

    Raises:
        IdentityError: the federation has expelled this site, or does not know it.
        FederatedFactoryError: a fault; what was done before it is kept.
    """
    if task is Task.RECEIVE:
        _receive(site, memory, progress, whole=whole)
    elif task is Task.DELIVER:
        own = len(load_revocations(site.home, site.trust).of_issuer(site.site_id))
        if not deliver_revocations(site, progress):
            raise NetworkError("this site's revocations are not delivered yet")
        memory.delivered = own
    elif task is Task.SEND:
        for module in send(site, progress).modules:
            progress.note(f"sent {module.class_name}: module {module.digest[:12]}")
    elif task is Task.CERTIFY:
        done = finish_unlearning(site, progress)
        if done is not None:
            progress.note(f"unlearned {len(done.modules)} modules: {done.certificate}")


def _receive(site: Site, memory: Memory, progress: Progress, *, whole: bool) -> None:
    # Whatever an interruption left half applied needs no network.
    apply_revocations(site, progress)
    received = Received(warnings=list(memory.warned))
    try:
        with open_relay(site) as relay:
            take_from_relay(site, relay, received, progress, first=whole)
    finally:
        memory.warned = received.warnings
        _tell(received, progress)
    members = load_members(site, utc_now())
    if members is not None and site.site_id in members.sites():
        raise IdentityError(
            f"{site.site_id} has been expelled from the federation",
            hint="ask its operator why; the classifier stays and can be used",
        )


def _tell(received: Received, progress: Progress) -> None:
    if received.admitted or received.waiting or received.revocations:
        progress.note(
            f"{len(received.admitted)} modules admitted, {len(received.waiting)} wait for a "
            f"decision, {received.revocations} revocations applied"
        )
    for subject, reason in received.refused.items():
        progress.note(f"warning: refused {subject[:12]}: {reason}")
