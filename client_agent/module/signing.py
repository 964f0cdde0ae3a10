"""Signing a module folder and checking a foreign one's signature (OpenSSF Model Signing v1.0).

The library checks that files and signature agree. It accepts expired leaves, wrong purposes and
any signer under the root, and takes the list of ignored files from the signer's own manifest, so
the rest is checked here: dates, purpose, signer, and that exactly our two files are signed.
"""

import base64
import binascii
import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cryptography import x509

from client_agent.credentials import load_credential
from client_agent.errors import RefusedError
from client_agent.home import Home
from ff_protocol import canonical
from ff_protocol.certificates import Credential, Purpose, chain_to_pem, key_to_pem
from ff_protocol.clock import utc_now
from ff_protocol.errors import FederatedFactoryError
from ff_protocol.files import read_bounded
from ff_protocol.limits import MAX_SIGNATURE_BYTES
from ff_protocol.manifest import SIGNATURE_FILE, SIGNED_FILES, FileEntry
from ff_protocol.names import Role
from ff_protocol.stopping import held
from ff_protocol.trust import TrustRoot

_TOLERATED_IGNORES = {".git", ".gitattributes", ".github", ".gitignore", SIGNATURE_FILE}


def sign_module(folder: Path, home: Home) -> None:
    """Write `module.sig` into `folder`, signed with the site's signing key.

    Args:
        folder: holds `module.onnx` and `card.json`.
        home: the site's home with its signing key and certificate chain.

    Raises:
        PassphraseError: the key is encrypted and the passphrase is missing or wrong.
    """
    from model_signing import hashing, signing

    credential = load_credential(home, "signing")
    signature = folder / SIGNATURE_FILE
    hashed = hashing.Config().set_ignored_paths(paths=[signature], ignore_git_paths=True)
    config = signing.Config().set_hashing_config(hashed)
    with contextlib.ExitStack() as stack:
        # The library wants files: these exist in memory alone, so that a key which lies encrypted
        # on the disk is never there in the clear.
        leaf, *others = (
            stack.enter_context(_memory_file(chain_to_pem((certificate,))))
            for certificate in credential.chain
        )
        if home.key_uri("signing").exists():
            config._signer = _token_signer(credential)
        else:
            key = stack.enter_context(_memory_file(key_to_pem(credential.key)))
            config.use_certificate_signer(
                private_key=key, signing_certificate=leaf, certificate_chain=others
            )
        config.sign(folder, signature)


def _token_signer(credential: Credential) -> Any:
    """Make the library's certificate signer for a key that has no bytes to hand over.

    Its own PKCS#11 signer needs PyKCS11, which is GPL. This rests on three private attributes of
    model-signing 1.1 (packaging/constraints.txt pins it; tests/unit/test_token_key.py notices).
    """
    from model_signing._signing.sign_certificate import Signer

    signer = Signer.__new__(Signer)
    signer._private_key = credential.key
    signer._signing_certificate = credential.leaf
    signer._trust_chain = list(credential.chain[1:])
    return signer


@contextlib.contextmanager
def _memory_file(data: bytes) -> Iterator[Path]:
    """Make a file that has a path in this process only and is gone with the context (Linux)."""
    descriptor = os.memfd_create("certificate", os.MFD_CLOEXEC)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(data)
        stream.flush()
        yield Path(f"/proc/self/fd/{descriptor}")


def check_signature(
    folder: Path,
    entries: dict[str, FileEntry],
    site_id: str,
    trust: TrustRoot,
    root_certificate: Path,
) -> None:
    """Check that `site_id` signed exactly this module.

    Args:
        folder: the module as received.
        entries: its files as hashed here.
        site_id: the site that published it.
        trust: the federation's root.
        root_certificate: the same roots as a file, for the library.

    Raises:
        RefusedError: with the rule that failed.
    """
    bundle = canonical.loads(
        read_bounded(folder / SIGNATURE_FILE, MAX_SIGNATURE_BYTES, "signature"),
        max_bytes=MAX_SIGNATURE_BYTES,
        what=SIGNATURE_FILE,
    )
    chain, statement = _parts(bundle)
    try:
        signer = trust.verify(chain, Purpose.SIGNING, Role.SITE, at=utc_now())
    except FederatedFactoryError as error:
        raise RefusedError(
            f"module signature: {error.message}", refusal_code="signing_certificate"
        ) from error
    if signer.site_id != site_id:
        raise RefusedError(
            f"module signature: signed by {signer.site_id}, not by {site_id}",
            refusal_code="wrong_signer",
        )
    _check_statement(statement, entries)
    _check_with_library(folder, root_certificate)


def _parts(bundle: object) -> tuple[tuple[x509.Certificate, ...], object]:
    try:
        material = bundle["verificationMaterial"]["x509CertificateChain"]["certificates"]  # type: ignore[index]
        chain = tuple(
            x509.load_der_x509_certificate(base64.b64decode(item["rawBytes"], validate=True))
            for item in material[:4]
        )
        payload = base64.b64decode(bundle["dsseEnvelope"]["payload"], validate=True)  # type: ignore[index]
        if not chain:
            raise ValueError("no certificate")
    except (KeyError, TypeError, ValueError, binascii.Error) as error:
        raise RefusedError("module signature: not a Sigstore bundle with a chain") from error
    return chain, canonical.loads(payload, max_bytes=MAX_SIGNATURE_BYTES, what="signed manifest")


def _check_statement(statement: object, entries: dict[str, FileEntry]) -> None:
    expected = [
        {"algorithm": "sha256", "digest": entries[name].sha256, "name": name}
        for name in SIGNED_FILES
    ]
    try:
        predicate = statement["predicate"]  # type: ignore[index]
        resources = sorted(predicate["resources"], key=lambda item: str(item["name"]))
        serialization = predicate["serialization"]
        fits = (
            resources == expected
            and serialization["method"] == "files"
            and serialization["hash_type"] == "sha256"
            and serialization["allow_symlinks"] is False
            and set(serialization.get("ignore_paths", [])) <= _TOLERATED_IGNORES
        )
    except (KeyError, TypeError) as error:
        raise RefusedError("module signature: malformed manifest") from error
    if not fits:
        raise RefusedError(
            "module signature: it does not cover exactly these two files",
            refusal_code="signed_files",
        )


@held
def _check_with_library(folder: Path, root_certificate: Path) -> None:
    from model_signing import verifying

    try:
        verifying.Config().use_certificate_verifier(certificate_chain=[root_certificate]).verify(
            folder, folder / SIGNATURE_FILE
        )
    except Exception as error:  # the library raises ValueError and its dependencies' own
        raise RefusedError("module signature: it does not hold") from error
