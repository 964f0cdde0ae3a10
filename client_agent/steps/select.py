"""Choosing among the modules on offer, by the rule of the federation or of this site.

Cards are fetched first, modules only when they are chosen. A module that is here and is no longer
chosen is set aside: it leaves with its synthetic images, as if it had never been chosen, and may
come back. Without a rule every module takes part and nothing here does anything.
"""

from collections.abc import Callable, Iterable

from client_agent.errors import RefusedError
from client_agent.module.admission import acceptable, check_card, policy_for
from client_agent.policy.file import read_policy, selection_in_force
from client_agent.policy.selection import Candidate, select
from client_agent.progress import SILENT, Progress
from client_agent.registry.cards import forget_cards, is_card_of, offered_card, store_card
from client_agent.registry.modules import (
    admitted_modules,
    own_modules,
    read_card,
    remove_folder,
    waiting_modules,
)
from client_agent.registry.refusals import refusals
from client_agent.registry.revocations import RevocationList, load_revocations
from client_agent.registry.statements import published_modules
from client_agent.registry.trusted_sites import trusted_sites
from client_agent.site import Site
from client_agent.steps.intake import refuse_module
from client_agent.steps.source import Source
from ff_protocol.card import Card
from ff_protocol.errors import MalformedError
from ff_protocol.manifest import describe_module
from ff_protocol.statements import Publication


def standing_offers(site: Site, revoked: RevocationList) -> list[Publication]:
    """Return the publications that a choice is made among: neither refused, revoked nor barred.

    A successor waits until what it supersedes is revoked: nobody uses both.
    """
    refused = refusals(site.home)
    return [
        publication
        for publication in acceptable(published_modules(site), site, revoked)
        if publication.module not in refused
        and all(revoked.covering(old, publication.site_id) for old in publication.supersedes)
    ]


def look_at_cards(
    site: Site,
    source: Source,
    revoked: RevocationList,
    refused: dict[str, str],
    *,
    offers: Callable[[str], bool],
    progress: Progress = SILENT,
) -> None:
    """Fetch the cards of modules on offer that are not here; refuse what they disqualify.

    Args:
        site: who chooses.
        source: where cards come from.
        revoked: the revocations in force.
        refused: gets digest and reason of what is refused.
        offers: whether the source has the module with this digest.
        progress: watches.

    Raises:
        NetworkError: cut off; what came is kept.
    """
    offered = standing_offers(site, revoked)
    forget_cards(site.home, frozenset(item.module for item in offered))
    own = _own_cards(site)
    missing = [
        item
        for item in offered
        if item.module not in own and offers(item.module) and not _card_is_here(site, item)
    ]
    if not missing:
        return
    with progress.task("looking at the cards of modules on offer", len(missing)) as task:
        for number, (publication, data) in enumerate(source.fetch_cards(missing), start=1):
            if data is not None and is_card_of(publication, data):
                store_card(site.home, publication, data)
                _judge(site, publication, refused)
            task.update(number)


def chosen_modules(site: Site, revoked: RevocationList) -> frozenset[str] | None:
    """Return the digests of the modules that take part; None if there is no rule: all do.

    Of a module whose card is not here nothing is known, so it is not chosen.
    """
    rule = selection_in_force(site.home, site.spec)
    if rule is None:
        return None
    own = _own_cards(site)
    candidates = []
    for publication in standing_offers(site, revoked):
        card = own.get(publication.module) or offered_card(site.home, publication)
        if card is not None:
            candidates.append(
                Candidate(
                    publication.module,
                    publication.site_id,
                    publication.class_name,
                    publication.published_at,
                    card,
                )
            )
    policy = read_policy(site.home).admission
    return select(candidates, rule, trusted_sites(site.home) | set(policy.trusted_sites))


def set_aside(site: Site, chosen: Iterable[str], progress: Progress = SILENT) -> tuple[str, ...]:
    """Have the modules leave that are here and not chosen, own ones stay in the outbox.

    Returns:
        Their digests.

    Raises:
        StorageError: the disk refused; run again.
    """
    kept = frozenset(chosen)
    here = (*admitted_modules(site.home), *waiting_modules(site.home))
    leaving = [module for module in here if module.digest not in kept]
    for module in leaving:
        site.log.append("module_set_aside", module=module.digest, site=module.card.site_id)
        progress.note(
            f"{module.card.class_name} from {module.card.site_id} is set aside: others are chosen"
        )
        for folder in (site.home.shards, site.home.root / "appraisals"):
            remove_folder(folder / module.digest)
        remove_folder(module.folder)
    return tuple(module.digest for module in leaving)


def keep_chosen(site: Site, progress: Progress = SILENT) -> None:
    """Set aside what is here and not chosen, before anything is built. Needs no network."""
    chosen = chosen_modules(site, load_revocations(site.home, site.trust))
    if chosen is not None:
        set_aside(site, chosen, progress)


def _own_cards(site: Site) -> dict[str, Card]:
    """Cards of the modules in the outbox, by digest."""
    return {
        describe_module(folder)[0]: read_card(folder) for folder in own_modules(site.home).values()
    }


def _card_is_here(site: Site, publication: Publication) -> bool:
    try:
        return offered_card(site.home, publication) is not None
    except MalformedError:
        return True  # it is no card: known, and refused when it was looked at


def _judge(site: Site, publication: Publication, refused: dict[str, str]) -> None:
    try:
        card = offered_card(site.home, publication)
        if card is not None:
            check_card(card, publication, site, policy_for(publication, site))
    except MalformedError as error:
        refuse_module(
            site, refused, publication.module, RefusedError(error.message, refusal_code="card")
        )
    except RefusedError as error:
        refuse_module(site, refused, publication.module, error)
