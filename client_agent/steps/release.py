"""Whether an own module may leave, and a person's decision that it shall although it fails.

The audit's figures stand in the signed card, the bounds in the site's policy; comparing the two is
`client_agent.policy.release`. No publication is signed for a module that fails: not by `send`, not
for a bundle, not for a withdrawal's successor.
"""

from dataclasses import dataclass

from client_agent.errors import NotReadyError, ReleaseRefusedError, UsageError
from client_agent.module.packing import repack_module, restore_replaced
from client_agent.policy.file import read_policy
from client_agent.policy.release import NOT_AUDITED, Objection, objections
from client_agent.registry.modules import own_modules, read_card
from client_agent.registry.private_files import carry_over, forget_private
from client_agent.site import Site
from ff_protocol.card import Card, Waiver
from ff_protocol.manifest import describe_module

_LEAST_REASON, _LONGEST_REASON = 10, 2000


@dataclass(frozen=True)
class Waived:
    """What `waive` did.

    Attributes:
        class_name: the module's class.
        digest: its new identity, since the waiver is part of the card.
        replaced: the identity that it had.
        figures: what failed and is waived.
    """

    class_name: str
    digest: str
    replaced: str
    figures: tuple[str, ...]


def require_release(site: Site, class_name: str, card: Card) -> None:
    """Stop unless the site's policy lets a module leave.

    Raises:
        ReleaseRefusedError: naming each figure, its value and its bound.
        SpecError: the policy cannot be read.
    """
    standing = [
        item for item in objections(card, read_policy(site.home).release) if not item.waived
    ]
    if standing:
        raise ReleaseRefusedError(
            f"{class_name}: its module may not leave: {'; '.join(item.text for item in standing)}",
            hint=_hint(class_name, standing),
        )


def refuse_release(refusals: list[ReleaseRefusedError]) -> None:
    """Report together the modules that did not leave, after those that may have left.

    Raises:
        ReleaseRefusedError: there are any.
    """
    if refusals:
        hints = dict.fromkeys(error.hint for error in refusals if error.hint)
        message = "; ".join(error.message for error in refusals)
        raise ReleaseRefusedError(message, hint="; ".join(hints))


def waive(site: Site, class_name: str, reason: str) -> Waived:
    """Sign a person's decision to release a module although it fails the policy.

    The waiver names the figures that fail now; it is part of the card, so the module gets a new
    identity and signature. Its private files go with it.

    Raises:
        NotReadyError: there is no module of the class.
        UsageError: it fails nothing, has been published, or the reason is too short or too long.
    """
    if not _LEAST_REASON <= len(reason.strip()) <= _LONGEST_REASON:
        raise UsageError(
            f"a reason of {len(reason.strip())} characters",
            hint=f"say why in {_LEAST_REASON} to {_LONGEST_REASON} characters: every site reads it",
        )
    restore_replaced(site.home)
    folder = own_modules(site.home).get(class_name)
    if folder is None:
        raise NotReadyError(
            f"there is no module of class {class_name!r} in the outbox",
            hint="ff-agent status lists the modules",
        )
    old, _ = describe_module(folder)
    require_unpublished(site, class_name, old)
    card = read_card(folder)
    against = objections(card, read_policy(site.home).release)
    if all(item.waived for item in against):
        raise UsageError(
            f"{class_name}: there is nothing to waive: its module may leave",
            hint="run: ff-agent send",
        )
    figures = tuple(item.figure for item in against)
    waiver = Waiver(reason=reason.strip(), figures=figures)
    new = replace_card(site, class_name, old, card.model_copy(update={"waiver": waiver}))
    site.log.append(
        "release_waived", class_name=class_name, module=new, replaced=old, figures=list(figures)
    )
    return Waived(class_name, new, old, figures)


def require_unpublished(site: Site, class_name: str, digest: str) -> None:
    """Stop if a module's publication is signed: from then on its card is what it is.

    Raises:
        UsageError: it is.
    """
    if is_published(site, digest):
        raise UsageError(
            f"{class_name}: module {digest[:12]} is published and cannot change any more",
            hint="make a successor: ff-agent train --retrain",
        )


def is_published(site: Site, digest: str) -> bool:
    """Say whether a publication of an own module has been signed."""
    return (site.home.publications / f"{digest}.dsse").is_file()


def replace_card(site: Site, class_name: str, old: str, card: Card) -> str:
    """Put another card into the module in the outbox; return the module's new digest."""
    packed = repack_module(site, class_name, card, lambda new: carry_over(site.home, old, new))
    if packed.digest != old:
        forget_private(site.home, old)
    return packed.digest


def _hint(class_name: str, standing: list[Objection]) -> str:
    waiver = f"release it on your own responsibility: ff-agent waive {class_name} --reason TEXT"
    if any(item.figure == NOT_AUDITED for item in standing):
        return (
            f"run: ff-agent audit {class_name}; it also says why a class cannot be audited. "
            f"Then, if it must be, {waiver}"
        )
    again = "train it again for a shorter time or on more images (ff-agent train --retrain)"
    return f"{again}, or {waiver}"
