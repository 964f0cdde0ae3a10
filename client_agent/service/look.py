"""Reading from a home what the agenda needs to know of it. Reads only, and loads nothing heavy."""

import datetime as dt
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from client_agent.config import read_config
from client_agent.home import Home
from client_agent.policy.file import read_policy
from client_agent.policy.release import objections
from client_agent.registry.fit_record import read_fit_record
from client_agent.registry.forgetting import read_pending
from client_agent.registry.modules import admitted_modules, own_modules, read_card
from client_agent.registry.revocations import load_revocations
from client_agent.registry.statements import published_modules
from client_agent.registry.training_images import pending_withdrawal
from client_agent.service.agenda import HomeState
from client_agent.site import Site
from client_agent.steps.release import is_published
from client_agent.steps.renew import validity
from client_agent.steps.reproducibility import fit_reproducibility
from ff_protocol import canonical
from ff_protocol.manifest import describe_module


@dataclass(frozen=True)
class Wish:
    """What `config.yaml` says about training: whether it names data, and which classes it wants.

    `classes` is None where it wants all that are in the data.
    """

    data: bool = False
    classes: tuple[str, ...] | None = None


def read_wish(path: Path) -> Wish:
    """Read what a configuration file says about training.

    Raises:
        SpecError: it breaks its schema.
    """
    values: dict[str, Any] = read_config(path) if path.is_file() else {}
    text = values.get("classes")
    classes = tuple(part.strip() for part in text.split(",")) if text else None
    return Wish("data" in values, classes)


def look(site: Site, wish: Wish, now: dt.datetime) -> HomeState:
    """Read the state of a home.

    Args:
        site: whose.
        wish: what may be trained.
        now: the present time.
    """
    admitted = admitted_modules(site.home)
    record, pending = read_fit_record(site.home), read_pending(site)
    revoked = load_revocations(site.home, site.trust)
    return HomeState(
        modules=frozenset(module.digest for module in admitted),
        classes=len({module.card.class_name for module in admitted}),
        fitted=None if record is None else frozenset(record.modules),
        same_conditions=record is None
        or (record.state.spec, record.reproducibility) == _conditions(site),
        unlearning=frozenset(pending.modules) if pending else frozenset(),
        rebuild=pending is not None and pending.refit,
        own_revocations=len(revoked.of_issuer(site.site_id)),
        unsent=_unsent(site, {module.digest for module in admitted}),
        untrained=_untrained(site, wish),
        certificates_due=any(item.due for item in validity(site, now).values()),
    )


def fingerprint(home: Home) -> tuple[int, ...]:
    """Return numbers that change when a command has changed what `look` would see: cheap to ask."""
    places = (
        home.root / "admitted",
        home.outbox,
        home.certificate("tls").parent,
        home.fit_record.parent,
        home.revocations,
        home.local_revocations,
        home.pending_unlearning,
        home.pending_withdrawal,
        home.policy_file,
    )
    return tuple(_changed(path) for path in places)


def _changed(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _conditions(site: Site) -> tuple[str, dict[str, Any]]:
    spec = canonical.sha256_hex(canonical.dumps(site.spec.model_dump(mode="json")))
    return spec, fit_reproducibility(site.spec)


def _unsent(site: Site, admitted: set[str]) -> tuple[str, ...]:
    """Classes whose module was never sent and would be let go."""
    policy, held_back = read_policy(site.home).release, pending_withdrawal(site.home)
    revoked = load_revocations(site.home, site.trust)
    found = []
    for name, folder in own_modules(site.home).items():
        digest, _ = describe_module(folder)
        if digest in admitted or name in held_back or revoked.covering(digest, site.site_id):
            continue
        against = objections(read_card(folder), policy)
        if is_published(site, digest) or all(item.waived for item in against):
            found.append(name)
    return tuple(found)


def _untrained(site: Site, wish: Wish) -> tuple[str, ...]:
    """Classes that may be trained: no module, and none that was published and revoked."""
    if not wish.data:
        return ()
    had = {item.class_name for item in published_modules(site, of_site=site.site_id)}
    had |= set(own_modules(site.home))
    wanted = site.spec.classes if wish.classes is None else wish.classes
    return tuple(name for name in wanted if name not in had)
