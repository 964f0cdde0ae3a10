"""What `receive --wait` waits for, and how far it has come."""

import time
from dataclasses import dataclass, field
from typing import Literal

from client_agent.registry.modules import usable_modules
from client_agent.registry.revocations import load_revocations
from client_agent.registry.statements import published_modules
from client_agent.site import Site


@dataclass(frozen=True)
class WaitFor:
    """A number of classes or sites with a module in use here, and how long to wait for them.

    Attributes:
        count: how many; None stands for every class of the federation, but for those whose
            modules have all been revoked: nobody can say when one comes back.
        what: what is counted.
        timeout_seconds: None waits for ever.
        started: when waiting began, on the monotonic clock.
    """

    count: int | None = None
    what: Literal["classes", "sites"] = "classes"
    timeout_seconds: float | None = None
    started: float = field(default_factory=time.monotonic)

    @property
    def overdue(self) -> bool:
        """Whether the time is over."""
        waited = time.monotonic() - self.started
        return self.timeout_seconds is not None and waited > self.timeout_seconds

    def here(self, site: Site) -> frozenset[str]:
        """The classes or sites that have a module in use here."""
        cards = [module.card for module in usable_modules(site.home, site.spec)]
        if self.what == "classes":
            return frozenset(card.class_name for card in cards)
        return frozenset(card.site_id for card in cards)

    def needed(self, site: Site) -> int:
        """How many are to be here."""
        if self.count is not None:
            return self.count
        return len(site.spec.classes) - len(withdrawn_classes(site))


def withdrawn_classes(site: Site) -> frozenset[str]:
    """Classes that have been published here, and of which every module has been revoked."""
    revoked = load_revocations(site.home, site.trust)
    published, standing = set(), set()
    for publication in published_modules(site):
        published.add(publication.class_name)
        if revoked.covering(publication.module, publication.site_id) is None:
            standing.add(publication.class_name)
    return frozenset(published - standing) & frozenset(site.spec.classes)
