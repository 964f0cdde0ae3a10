"""The whole round in order: train, send, receive, synthesise, fit. Every part is idempotent."""

from dataclasses import dataclass

from client_agent.engines.engine import LOCAL, EngineOptions
from client_agent.progress import SILENT, Progress
from client_agent.registry.modules import own_modules
from client_agent.site import Site
from client_agent.steps.fit import Fitted, fit
from client_agent.steps.receive import Received, receive
from client_agent.steps.revoke import deliver_revocations
from client_agent.steps.send import Sent, send
from client_agent.steps.train import Trained, train
from client_agent.steps.train_options import TrainOptions
from client_agent.steps.waiting import WaitFor


@dataclass(frozen=True)
class Round:
    """What each part of a round did; `sent` is None if this site has no module to send."""

    trained: Trained
    sent: Sent | None
    received: Received
    fitted: Fitted


def run_round(
    site: Site,
    options: TrainOptions,
    wait: WaitFor | None,
    progress: Progress = SILENT,
    engine: EngineOptions = LOCAL,
) -> Round:
    """Do the round; after any interruption the same call continues where it stopped.

    The home is locked while something is done, not while others are waited for.

    Args:
        site: who runs it.
        options: for training.
        wait: what to wait for before fitting; None waits for every class that
            has not been withdrawn.
        progress: watches.
        engine: where training and synthesis are done.

    Raises:
        Whatever the parts raise; what was finished stays finished.
    """
    with site.exclusive():
        trained = train(site, options, progress, engine)
        deliver_revocations(site, progress)
        sent = send(site, progress) if own_modules(site.home) else None
    received = receive(site, wait or WaitFor(), progress)
    with site.exclusive(wait=True):
        return Round(trained, sent, received, fit(site, progress, engine))
