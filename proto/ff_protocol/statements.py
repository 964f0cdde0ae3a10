"""What parties sign: in-toto Statements v1 with our predicate types, and how to read them back.

    spec          authority -> all     the federation spec
    publication   site -> all          "this is module D, made of these files and chunks"
    revocation    site -> all          "module D must be as if it had never been"
    unlearning    site -> anyone       "this site has forgotten it; here are the digests"

Builders return plain values to be signed by `dsse.sign`; readers take what `dsse.verify` returned
and raise `MalformedError` on any deviation. No I/O here.
"""

from dataclasses import dataclass
from typing import Any

from ff_protocol.dsse import VerifiedPayload
from ff_protocol.errors import MalformedError, UntrustedError
from ff_protocol.manifest import FileEntry, module_digest, parse_entries
from ff_protocol.names import check_class_name, check_digest, check_site_id
from ff_protocol.spec import FederationSpec, parse_spec

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
_PREFIX = "urn:federated-factory:statement:"
SPEC = _PREFIX + "spec:v1"
PUBLICATION = _PREFIX + "publication:v1"
REVOCATION = _PREFIX + "revocation:v1"
UNLEARNING = _PREFIX + "unlearning:v1"

MAX_REASON_CHARACTERS = 500
MAX_REVOKED_MODULES = 4096


@dataclass(frozen=True)
class Publication:
    """A site's announcement of one module."""

    federation_id: str
    site_id: str
    class_name: str
    module: str
    files: dict[str, FileEntry]
    published_at: str


@dataclass(frozen=True)
class Revocation:
    """An order to forget.

    Attributes:
        modules: digests to forget.
        site_id: if set, every module of that site, present and future.
        sequence: 1 for the issuer's first revocation, then one more each time.
        previous: digest of the issuer's previous revocation payload, None for the first.
        digest: digest of this revocation's payload.
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

    def covers(self, module: str, site_id: str) -> bool:
        """Say whether a module of a site falls under this revocation."""
        return module in self.modules or (self.site_id is not None and self.site_id == site_id)


def predicate_type(payload: VerifiedPayload) -> str:
    """Return the predicate type of a statement.

    Raises:
        MalformedError: not an in-toto Statement v1.
    """
    value = payload.value
    if not isinstance(value, dict) or value.get("_type") != STATEMENT_TYPE:
        raise MalformedError("not an in-toto Statement v1")
    return str(value.get("predicateType"))


def build_spec(spec: FederationSpec, federation_id: str, name: str, issued_at: str) -> Any:
    """Build the statement that carries the federation spec."""
    return _statement(
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
    predicate = _predicate(payload, SPEC, {"federation", "name", "issued_at", "spec"})
    return parse_spec(predicate["spec"]), str(predicate["name"])[:200]


def build_publication(publication: Publication) -> Any:
    """Build the statement that announces a module."""
    return _statement(
        PUBLICATION,
        [("module", publication.module)],
        {
            "federation": publication.federation_id,
            "site": publication.site_id,
            "class": publication.class_name,
            "files": [publication.files[name].to_dict() for name in sorted(publication.files)],
            "published_at": publication.published_at,
        },
    )


def read_publication(payload: VerifiedPayload, *, max_module_bytes: int) -> Publication:
    """Read a publication; its subject must be the digest of the files that it lists.

    Raises:
        MalformedError: wrong form, sizes above the limits, digest and files disagree.
        UntrustedError: it speaks for a site other than its signer.
    """
    predicate = _predicate(
        payload, PUBLICATION, {"federation", "site", "class", "files", "published_at"}
    )
    site = check_site_id(_text(predicate, "site"))
    if site != payload.signer.site_id:
        raise UntrustedError(f"{payload.signer.site_id} cannot publish for {site}")
    files = parse_entries(predicate["files"], max_module_bytes=max_module_bytes)
    (module,) = _subjects(payload, limit=1)
    if module != module_digest(files):
        raise MalformedError("the publication's digest is not that of its files")
    return Publication(
        federation_id=payload.signer.federation_id,
        site_id=site,
        class_name=check_class_name(_text(predicate, "class")),
        module=module,
        files=files,
        published_at=_text(predicate, "published_at"),
    )


def build_revocation(revocation: Revocation) -> Any:
    """Build the statement that revokes modules (its `digest` field is ignored)."""
    return _statement(
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
        },
    )


def read_revocation(payload: VerifiedPayload) -> Revocation:
    """Read a revocation. Who may revoke what is decided by `registry.revocation`.

    Raises:
        MalformedError: wrong form, or it revokes nothing.
        UntrustedError: it speaks for an issuer other than its signer.
    """
    predicate = _predicate(
        payload,
        REVOCATION,
        {"federation", "issuer", "site", "reason", "sequence", "previous", "issued_at"},
    )
    issuer = payload.signer.site_id or str(payload.signer.role)
    if predicate["issuer"] != issuer:
        raise UntrustedError(f"{issuer} cannot revoke in the name of another")
    sequence, previous, site = predicate["sequence"], predicate["previous"], predicate["site"]
    if type(sequence) is not int or not 1 <= sequence < 2**31:
        raise MalformedError(f"revocation sequence {sequence!r}")
    if (previous is None) != (sequence == 1):
        raise MalformedError("a revocation names its predecessor unless it is the first")
    modules = _subjects(payload, limit=MAX_REVOKED_MODULES)
    if not modules and site is None:
        raise MalformedError("a revocation names a module or a site")
    reason = _text(predicate, "reason")
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
        issued_at=_text(predicate, "issued_at"),
        digest=payload.digest,
    )


def build_unlearning(modules: tuple[str, ...], predicate: dict[str, Any]) -> Any:
    """Build an unlearning certificate about `modules`."""
    return _statement(UNLEARNING, [("module", digest) for digest in modules], predicate)


def _statement(kind: str, subjects: list[tuple[str, str]], predicate: dict[str, Any]) -> Any:
    return {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": name, "digest": {"sha256": digest}} for name, digest in subjects],
        "predicateType": kind,
        "predicate": predicate,
    }


def _predicate(payload: VerifiedPayload, kind: str, keys: set[str]) -> dict[str, Any]:
    if predicate_type(payload) != kind:
        raise MalformedError(f"statement of type {predicate_type(payload)[:120]!r}, not {kind!r}")
    predicate = payload.value.get("predicate")
    if not isinstance(predicate, dict) or set(predicate) != keys:
        raise MalformedError(f"a {kind.split(':')[-2]} has exactly the keys {sorted(keys)}")
    if predicate["federation"] != payload.signer.federation_id:
        raise UntrustedError("the statement is about another federation than its signer's")
    return predicate


def _subjects(payload: VerifiedPayload, *, limit: int) -> tuple[str, ...]:
    subjects = payload.value.get("subject")
    if not isinstance(subjects, list) or len(subjects) > limit:
        raise MalformedError(f"a statement has a list of at most {limit} subjects")
    try:
        return tuple(check_digest(str(subject["digest"]["sha256"])) for subject in subjects)
    except (KeyError, TypeError) as error:
        raise MalformedError("a subject has a SHA-256 digest") from error


def _text(predicate: dict[str, Any], key: str) -> str:
    value = predicate[key]
    if not isinstance(value, str):
        raise MalformedError(f"{key} must be text")
    return value
