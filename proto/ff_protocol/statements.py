"""What parties sign: in-toto Statements v1 with our predicate types, and how to read them back.

    spec          authority -> all     the federation spec
    publication   site -> all          "this is module D, made of these files and chunks"
    revocation    site -> all          "module D must be as if it had never been"

Two more kinds have files of their own: `ff_protocol.heads` and `ff_protocol.unlearning`. Builders
return plain values to be signed by `dsse.sign`; readers take what `dsse.verify` returned and raise
`MalformedError` on any deviation. No I/O here.
"""

from dataclasses import dataclass
from typing import Any

from ff_protocol import intoto
from ff_protocol.dsse import VerifiedPayload
from ff_protocol.errors import MalformedError, UntrustedError
from ff_protocol.heads import (
    Head,
    RecordHead,
    heads_to_list,
    parse_heads,
    parse_record_head,
)
from ff_protocol.manifest import FileEntry, module_digest, parse_entries
from ff_protocol.names import check_class_name, check_digest, check_site_id
from ff_protocol.spec import FederationSpec, parse_spec

SPEC = intoto.PREFIX + "spec:v1"
PUBLICATION = intoto.PREFIX + "publication:v1"
REVOCATION = intoto.PREFIX + "revocation:v1"

MAX_REASON_CHARACTERS = 500
MAX_REVOKED_MODULES = 4096
MAX_SUPERSEDED = 16


@dataclass(frozen=True)
class Publication:
    """A site's announcement of one module.

    Attributes:
        supersedes: modules of the same site that this one replaces. It is not to be used before
            they are revoked, so that no site ever uses both.
        heads: the ends of the chains of revocations that the publisher knew.
        record: the end of the publisher's own record.
    """

    federation_id: str
    site_id: str
    class_name: str
    module: str
    files: dict[str, FileEntry]
    published_at: str
    supersedes: tuple[str, ...] = ()
    heads: tuple[Head, ...] = ()
    record: RecordHead | None = None


@dataclass(frozen=True)
class Revocation:
    """An order to forget.

    Attributes:
        modules: digests to forget.
        site_id: if set, every module of that site, present and future.
        sequence: 1 for the issuer's first revocation, then one more each time.
        previous: digest of the issuer's previous revocation payload, None for the first.
        digest: digest of this revocation's payload.
        successors: modules of the issuer that take the place of the revoked ones: they come into
            use in the same step, or, where they cannot be had, the revoked ones go alone.
    """

    federation_id: str
    issuer: str
    modules: tuple[str, ...]
    site_id: str | None
    reason: str
    sequence: int
    previous: str | None
    issued_at: str
    digest: str
    successors: tuple[str, ...] = ()

    def covers(self, module: str, site_id: str) -> bool:
        """Say whether a module of a site falls under this revocation."""
        return module in self.modules or (self.site_id is not None and self.site_id == site_id)


def build_spec(spec: FederationSpec, federation_id: str, name: str, issued_at: str) -> Any:
    """Build the statement that carries the federation spec."""
    return intoto.build(
        SPEC,
        [],
        {
            "federation": federation_id,
            "name": name,
            "issued_at": issued_at,
            "spec": spec.model_dump(mode="json"),
        },
    )


def read_spec(payload: VerifiedPayload) -> tuple[FederationSpec, str]:
    """Read a federation spec; return it with the federation's name.

    Raises:
        MalformedError, UntrustedError, SpecError: not a spec of the signer's federation.
    """
    predicate = intoto.predicate_of(payload, SPEC, {"federation", "name", "issued_at", "spec"})
    return parse_spec(predicate["spec"]), str(predicate["name"])[:200]


def build_publication(publication: Publication) -> Any:
    """Build the statement that announces a module."""
    return intoto.build(
        PUBLICATION,
        [("module", publication.module)],
        {
            "federation": publication.federation_id,
            "site": publication.site_id,
            "class": publication.class_name,
            "files": [publication.files[name].to_dict() for name in sorted(publication.files)],
            "published_at": publication.published_at,
            "supersedes": list(publication.supersedes),
            "heads": heads_to_list(publication.heads),
            "record": None if publication.record is None else publication.record.to_dict(),
        },
    )


def read_publication(payload: VerifiedPayload, *, max_module_bytes: int) -> Publication:
    """Read a publication; its subject must be the digest of the files that it lists.

    Raises:
        MalformedError: wrong form, sizes above the limits, digest and files disagree.
        UntrustedError: it speaks for a site other than its signer.
    """
    predicate = intoto.predicate_of(
        payload,
        PUBLICATION,
        {
            *("federation", "site", "class", "files", "published_at"),
            *("supersedes", "heads", "record"),
        },
    )
    site = check_site_id(intoto.text_of(predicate, "site"))
    if site != payload.signer.site_id:
        raise UntrustedError(f"{payload.signer.site_id} cannot publish for {site}")
    files = parse_entries(predicate["files"], max_module_bytes=max_module_bytes)
    (module,) = intoto.subjects_of(payload, limit=1)
    if module != module_digest(files):
        raise MalformedError("the publication's digest is not that of its files")
    supersedes = intoto.digests_of(predicate["supersedes"], "supersedes", limit=MAX_SUPERSEDED)
    if module in supersedes:
        raise MalformedError("a module cannot supersede itself")
    return Publication(
        federation_id=payload.signer.federation_id,
        site_id=site,
        class_name=check_class_name(intoto.text_of(predicate, "class")),
        module=module,
        files=files,
        published_at=intoto.text_of(predicate, "published_at"),
        supersedes=supersedes,
        heads=parse_heads(predicate["heads"]),
        record=parse_record_head(predicate["record"]),
    )


def build_revocation(revocation: Revocation) -> Any:
    """Build the statement that revokes modules (its `digest` field is ignored)."""
    return intoto.build(
        REVOCATION,
        [("module", digest) for digest in revocation.modules],
        {
            "federation": revocation.federation_id,
            "issuer": revocation.issuer,
            "site": revocation.site_id,
            "reason": revocation.reason,
            "sequence": revocation.sequence,
            "previous": revocation.previous,
            "issued_at": revocation.issued_at,
            "successors": list(revocation.successors),
        },
    )


def read_revocation(payload: VerifiedPayload) -> Revocation:
    """Read a revocation. Who may revoke what is decided by `registry.revocation`.

    Raises:
        MalformedError: wrong form, or it revokes nothing.
        UntrustedError: it speaks for an issuer other than its signer.
    """
    predicate = intoto.predicate_of(
        payload,
        REVOCATION,
        {
            *("federation", "issuer", "site", "reason", "sequence", "previous", "issued_at"),
            "successors",
        },
    )
    issuer = payload.signer.site_id or str(payload.signer.role)
    if predicate["issuer"] != issuer:
        raise UntrustedError(f"{issuer} cannot revoke in the name of another")
    sequence, previous, site = predicate["sequence"], predicate["previous"], predicate["site"]
    if type(sequence) is not int or not 1 <= sequence < 2**31:
        raise MalformedError(f"revocation sequence {sequence!r}")
    if (previous is None) != (sequence == 1):
        raise MalformedError("a revocation names its predecessor unless it is the first")
    modules = intoto.subjects_of(payload, limit=MAX_REVOKED_MODULES)
    if not modules and site is None:
        raise MalformedError("a revocation names a module or a site")
    successors = intoto.digests_of(predicate["successors"], "successors", limit=MAX_REVOKED_MODULES)
    if set(successors) & set(modules) or (successors and site is not None):
        raise MalformedError("what a revocation covers cannot succeed it")
    reason = intoto.text_of(predicate, "reason")
    if len(reason) > MAX_REASON_CHARACTERS:
        raise MalformedError(f"revocation reason: at most {MAX_REASON_CHARACTERS} characters")
    return Revocation(
        federation_id=payload.signer.federation_id,
        issuer=issuer,
        modules=modules,
        site_id=None if site is None else check_site_id(str(site)),
        reason=reason,
        sequence=sequence,
        previous=None if previous is None else check_digest(str(previous)),
        issued_at=intoto.text_of(predicate, "issued_at"),
        digest=payload.digest,
        successors=successors,
    )
