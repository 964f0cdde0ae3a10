"""Revoke a module, or a site's modules: sign the statement, tell the others, forget here."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from client_agent.errors import NetworkError, UsageError
from client_agent.progress import SILENT, Progress
from client_agent.registry.fit_record import read_fit_record
from client_agent.registry.forgetting import read_pending
from client_agent.registry.modules import own_modules, usable_modules
from client_agent.registry.revocations import RevocationList, load_revocations, store_revocation
from client_agent.registry.statements import published_modules
from client_agent.relay.connection import open_relay
from client_agent.site import Site
from client_agent.steps.apply import apply_revocations
from client_agent.steps.fit import fit
from client_agent.steps.heads import share_heads
from client_agent.steps.unlearning import certify_unlearning
from ff_protocol import dsse
from ff_protocol.clock import timestamp, utc_now
from ff_protocol.files import read_bounded
from ff_protocol.limits import MAX_ENVELOPE_BYTES
from ff_protocol.manifest import describe_module
from ff_protocol.names import Role
from ff_protocol.statements import Publication, Revocation, build_revocation, read_revocation

if TYPE_CHECKING:
    from client_agent.relay.client import RelayClient


@dataclass(frozen=True)
class Revoked:
    """What `revoke` did.

    Attributes:
        modules: digests that the statement names.
        scope: `federation` (relayed to all) or `local` (this site alone).
        statement: digest of the signed statement; None if all was revoked before.
        relayed: the coordinator has it; if False, `ff-agent send` or `receive` delivers it.
        unlearned: what was rebuilt here; None if left to a later `fit`.
    """

    modules: tuple[str, ...]
    scope: str
    statement: str | None
    relayed: bool
    unlearned: "Unlearned | None"


@dataclass(frozen=True)
class Unlearned:
    """The state after an unlearning.

    Attributes:
        modules: digests forgotten.
        classifier: SHA-256 of the classifier in use now, None if fewer than two classes are left.
        classes: the classes it knows.
        certificate: file name of the unlearning certificate.
    """

    modules: tuple[str, ...]
    classifier: str | None
    classes: tuple[str, ...]
    certificate: str


def revoke(
    site: Site,
    *,
    module: str | None = None,
    of_site: str | None = None,
    reason: str = "",
    rebuild: bool = True,
    progress: Progress = SILENT,
) -> Revoked:
    """Revoke and forget.

    Own modules are revoked for the whole federation; others' for this site alone.

    Args:
        site: who revokes.
        module: a digest, or a unique beginning of at least 8 digits of one.
        of_site: every module of this site instead. For another site this includes modules that
            it may publish later.
        reason: goes into the signed statement, at most 500 characters.
        rebuild: synthesise and fit again at once.
        progress: watches the rebuilding.

    Raises:
        UsageError: unknown or ambiguous module.
    """
    publications = published_modules(site)
    modules, publisher = _resolve(publications, module, of_site)
    local = publisher != site.site_id
    known = load_revocations(site.home, site.trust)
    fresh = tuple(digest for digest in modules if known.covering(digest, publisher) is None)
    whole_site = of_site if local else None
    statement = None
    if fresh or (whole_site and not _site_revoked(known, whole_site)):
        statement = sign_revocation(site, fresh, reason=reason, whole_site=whole_site, local=local)
    apply_revocations(site, progress)
    relayed = not local and deliver_revocations(site, progress)
    return Revoked(
        modules=modules,
        scope="local" if local else "federation",
        statement=statement,
        relayed=relayed,
        unlearned=finish_unlearning(site, progress) if rebuild else None,
    )


def finish_unlearning(site: Site, progress: Progress = SILENT) -> Unlearned | None:
    """Rebuild what a revocation took away and certify it; None if nothing is pending."""
    pending = read_pending(site)
    if pending is None:
        return None
    classes = {item.card.class_name for item in usable_modules(site.home, site.spec)}
    if pending.refit and len(classes) >= 2:
        fitted = fit(site, progress)
        return Unlearned(
            pending.modules, fitted.classifier, fitted.classes, fitted.certificate or ""
        )
    record = read_fit_record(site.home)  # a classifier that never knew the modules stays
    path = certify_unlearning(site, pending, record.state if record else None)
    return Unlearned(
        pending.modules,
        record.classifier if record else None,
        record.classes if record else (),
        path.name,
    )


def deliver_revocations(site: Site, progress: Progress = SILENT) -> bool:
    """Give the coordinator every own revocation that it may lack; say whether it has all.

    A coordinator that cannot be reached does not stop a revocation: it is in force here, and the
    next `send`, `receive` or `revoke` delivers it.
    """
    own = load_revocations(site.home, site.trust).of_issuer(site.site_id)
    if not own:
        return True
    try:
        with open_relay(site) as relay:
            for revocation in own:
                _send_successors(site, relay, revocation)
                path = site.home.revocations / (
                    f"{revocation.issuer}-{revocation.sequence:08d}.dsse"
                )
                relay.publish(path.read_bytes())
            share_heads(site, relay, progress)
    except NetworkError as error:
        progress.note(f"not delivered yet: {error.message}; ff-agent receive will deliver it")
        return False
    return True


def _send_successors(site: Site, relay: "RelayClient", revocation: Revocation) -> None:
    """Have a revocation's successors at the coordinator before it: receivers take both at once."""
    if not revocation.successors:
        return
    revoked = load_revocations(site.home, site.trust)
    for folder in own_modules(site.home).values():
        digest, entries = describe_module(folder)
        path = site.home.publications / f"{digest}.dsse"
        if digest not in revocation.successors or revoked.covering(digest, site.site_id):
            continue
        envelope = read_bounded(path, MAX_ENVELOPE_BYTES, "publication")
        sent = relay.send_module(folder, envelope, entries)
        if not sent.already_there:
            site.log.append("module_sent", module=digest, bytes=sent.bytes_sent)


def _site_revoked(known: RevocationList, site_id: str) -> bool:
    return any(entry.site_id == site_id for entry in known.local)


def _resolve(
    publications: tuple[Publication, ...], module: str | None, of_site: str | None
) -> tuple[tuple[str, ...], str]:
    """Return the modules meant and who published them."""
    if (module is None) == (of_site is None):
        raise UsageError("name either a module or a site", hint="ff-agent status lists modules")
    if of_site is not None:
        digests = tuple(item.module for item in publications if item.site_id == of_site)
        if not digests:
            raise UsageError(
                f"no module of {of_site!r} is known here",
                hint="ff-agent status lists the modules and their sites",
            )
        return digests, of_site
    assert module is not None
    matches = [item for item in publications if item.module.startswith(module.lower())]
    if len(module) < 8 or len(matches) != 1:
        raise UsageError(
            f"{module!r} names {len(matches)} modules; give at least 8 digits of one digest",
            hint="ff-agent status lists the modules",
        )
    return (matches[0].module,), matches[0].site_id


def sign_revocation(
    site: Site,
    modules: tuple[str, ...],
    *,
    reason: str,
    whole_site: str | None = None,
    successors: tuple[str, ...] = (),
    local: bool = False,
) -> str:
    """Sign a revocation and keep it: from then on it is in force here.

    Args:
        site: who revokes.
        modules: what is revoked.
        reason: at most 500 characters.
        whole_site: revoke every module of this site.
        successors: own modules that take the place of the revoked ones.
        local: for this site alone.

    Returns:
        Digest of the statement.
    """
    known = load_revocations(site.home, site.trust)
    chain = known.local if local else known.of_issuer(site.site_id)
    draft = Revocation(
        federation_id=site.trust.federation_id,
        issuer=site.site_id,
        modules=modules,
        site_id=whole_site,
        reason=reason,
        sequence=len(chain) + 1,
        previous=chain[-1].digest if chain else None,
        issued_at=timestamp(utc_now()),
        digest="",
        successors=successors,
    )
    envelope = dsse.sign(build_revocation(draft), site.credential("signing"))
    # Read back through the verifier: what this site could not accept is never stored.
    signed = read_revocation(dsse.verify(envelope, site.trust, (Role.SITE,), at=utc_now()))
    folder = site.home.local_revocations if local else site.home.revocations
    store_revocation(folder, signed, envelope)
    site.log.append(
        "revoked",
        modules=list(modules),
        site=whole_site,
        successors=list(successors),
        scope="local" if local else "federation",
        statement=signed.digest,
    )
    return signed.digest
