"""Asking a source for statements: for what is new alone, or for all that is not known here."""

import random
from collections.abc import Generator, Iterator

from client_agent.registry.heads import known_heads
from client_agent.registry.members import known_authority_statements
from client_agent.registry.modules import admitted_modules
from client_agent.registry.position import read_position, store_position
from client_agent.registry.refusals import refusals
from client_agent.registry.specs import known_spec_envelopes
from client_agent.registry.statements import known_envelopes, published_modules
from client_agent.registry.witnesses import choose_witnesses
from client_agent.relay.answers import Inquiry
from client_agent.site import Site
from client_agent.steps.source import DeltaSource, Source

_DRAW = random.SystemRandom()


class Listing:
    """One listing; iterate over its envelopes to the end.

    Attributes:
        heads_of: the sites whose heads were asked for, None if all were.
    """

    def __init__(self, site: Site, source: Source, *, whole: bool) -> None:
        """Prepare; nothing is asked yet.

        Args:
            site: who asks.
            source: the coordinator, or a bundle.
            whole: have the heads sent again, to see whether any is kept back that was here before.
        """
        self._site, self._source, self._whole = site, source, whole
        self._position = b""
        self.heads_of: tuple[str, ...] | None = None

    def __iter__(self) -> Iterator[bytes]:
        if not isinstance(self._source, DeltaSource):
            yield from self._source.list_statements(set(self._all_known() | self._known_heads()))
            return
        position = read_position(self._site.home)
        if not position:
            # Heads come in a second step: a newcomer learns in the first which sites there are.
            inquiry = Inquiry(self._all_known(), heads_of=())
            position = yield from self._source.list_news(inquiry)
            if not position:  # a coordinator from before there were positions: it has sent all
                return
        yield from self._news(self._source, position)

    def _news(self, source: DeltaSource, position: bytes) -> Generator[bytes, None, None]:
        site = self._site
        self.heads_of = choose_witnesses(
            {item.site_id for item in published_modules(site)},
            {module.card.site_id for module in admitted_modules(site.home)},
            site.site_id,
            _DRAW,
        )
        known = known_authority_statements(site) | known_spec_envelopes(site)
        known |= self._known_heads()
        self._position = yield from source.list_news(
            Inquiry(frozenset(known), position, self.heads_of)
        )

    def keep_position(self) -> None:
        """Ask from here the next time: everything that came is kept, or refused for good."""
        if self._position:
            store_position(self._site.home, self._position)

    def _known_heads(self) -> frozenset[str]:
        return frozenset() if self._whole else frozenset(known_heads(self._site, self.heads_of))

    def _all_known(self) -> frozenset[str]:
        site = self._site
        known = known_envelopes(site.home) | set(refusals(site.home))
        return frozenset(known | known_authority_statements(site) | known_spec_envelopes(site))
