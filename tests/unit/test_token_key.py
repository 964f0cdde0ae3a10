"""A signing key in a token: SoftHSM stands for the hospital's HSM or smart card."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from client_agent.credentials import (
    install_next,
    key_files,
    load_credential,
    next_key,
    site_key,
    use_token,
)
from client_agent.errors import IdentityError, NotReadyError, UsageError
from client_agent.home import Home
from client_agent.module.signing import check_signature, sign_module
from client_agent.site import open_site
from client_agent.token_key import open_token_key, parse_uri
from coordinator.enrolment import renew
from ff_protocol import dsse
from ff_protocol.certificate_requests import make_request
from ff_protocol.certificates import chain_from_pem, chain_to_pem, key_to_pem
from ff_protocol.clock import utc_now
from ff_protocol.errors import PassphraseError
from ff_protocol.manifest import describe_module
from ff_protocol.names import Identity, Role
from ff_protocol.passphrase import Passphrase
from tests.homes import FEDERATION

LIBRARY = next(
    (
        path
        for path in (
            Path("/usr/lib/softhsm/libsofthsm2.so"),
            Path("/usr/lib64/pkcs11/libsofthsm2.so"),
        )
        if path.exists()
    ),
    None,
)
NEEDS_SOFTHSM = pytest.mark.skipif(
    LIBRARY is None or None in map(shutil.which, ("softhsm2-util", "pkcs11-tool")),
    reason="needs SoftHSM and pkcs11-tool (Debian: softhsm2, opensc)",
)
URI = f"pkcs11:token=ff;object=signing?module-path={LIBRARY}"


@pytest.fixture(scope="module")
def pin(tmp_path_factory):
    """A file with the PIN of a new token that holds a P-256 and a P-384 key."""
    pytest.importorskip("pkcs11", reason="needs python-pkcs11")
    folder = tmp_path_factory.mktemp("softhsm")
    (folder / "tokens").mkdir()
    (folder / "conf").write_text(f"directories.tokendir = {folder / 'tokens'}\n")
    os.environ["SOFTHSM2_CONF"] = str(folder / "conf")  # read once, when the library is loaded
    run = {"check": True, "capture_output": True}
    subprocess.run(
        [
            *("softhsm2-util", "--init-token", "--free", "--label", "ff"),
            *("--pin", "12345678", "--so-pin", "87654321"),
        ],
        **run,
    )
    for label, kind in (("signing", "EC:prime256v1"), ("large", "EC:secp384r1")):
        subprocess.run(
            [
                *("pkcs11-tool", "--module", LIBRARY, "--token-label", "ff", "--login"),
                *("--pin", "12345678", "--keypairgen", "--key-type", kind, "--label", label),
            ],
            **run,
        )
    (folder / "pin").write_text("12345678\n")
    yield folder / "pin"
    del os.environ["SOFTHSM2_CONF"]


@pytest.fixture
def home(authority, tmp_path, pin):
    """A home whose signing key was in the token from the start."""
    folder = tmp_path / "home"
    home = Home(folder, Passphrase(pin))
    use_token(home, URI)
    key = site_key(home, "signing")
    authority.join(folder, "hospital-1")
    home.key("signing").unlink()
    present = load_credential(home, "tls").leaf
    identity = Identity(FEDERATION, Role.SITE, "hospital-1")
    request = make_request(key, "hospital-1")
    issued = renew(authority.issuing, identity, present, (b"", request), utc_now())
    home.certificate("signing").write_bytes(issued.signing)
    return home


# First, since a process logs in to a token once


@NEEDS_SOFTHSM
def test_a_wrong_pin_is_said_and_nobody_is_asked_without_a_terminal(tmp_path, monkeypatch, pin):
    (tmp_path / "wrong").write_text("00000000")
    with pytest.raises(PassphraseError, match="PIN of the token 'ff' is wrong"):
        open_token_key(URI, Passphrase(tmp_path / "wrong"))
    monkeypatch.delenv("FF_PASSPHRASE", raising=False)
    with pytest.raises(PassphraseError, match="none was given"):
        open_token_key(URI, Passphrase())


@NEEDS_SOFTHSM
def test_a_key_that_is_not_there_is_said(pin):
    with pytest.raises(NotReadyError, match="NoSuchKey"):
        open_token_key(URI.replace("signing", "absent"), Passphrase(pin))
    with pytest.raises(NotReadyError, match="NoSuchToken"):
        open_token_key(URI.replace("token=ff", "token=other"), Passphrase(pin))
    with pytest.raises(NotReadyError, match="cannot"):
        open_token_key(URI.replace(str(LIBRARY), "/nowhere.so"), Passphrase(pin))
    with pytest.raises(IdentityError, match="P-256"):
        open_token_key(URI.replace("signing", "large"), Passphrase(pin))


@NEEDS_SOFTHSM
def test_statements_and_modules_are_signed_in_the_token(home, tmp_path):
    site = open_site(home)
    credential = load_credential(home, "signing")
    envelope = dsse.sign({"a": 1}, credential)
    assert dsse.verify(envelope, site.trust, (Role.SITE,), at=utc_now()).signer.site_id == (
        "hospital-1"
    )
    folder = tmp_path / "module"
    folder.mkdir()
    (folder / "module.onnx").write_bytes(b"weights")
    (folder / "card.json").write_bytes(b"{}")
    sign_module(folder, home)
    _, entries = describe_module(folder)
    check_signature(folder, entries, "hospital-1", site.trust, home.root_certificate)
    assert [path.name for path in key_files(home) if path.exists()] == ["tls.key"]
    with pytest.raises(TypeError, match="cannot be read"):
        key_to_pem(credential.key)


@NEEDS_SOFTHSM
def test_a_renewal_keeps_the_key_and_changes_the_certificate(authority, home):
    before = load_credential(home, "signing")
    request = make_request(next_key(home, "signing"), "hospital-1")
    present = load_credential(home, "tls").leaf
    identity = Identity(FEDERATION, Role.SITE, "hospital-1")
    issued = renew(authority.issuing, identity, present, (b"", request), utc_now())
    install_next(home, "signing", issued.signing)
    after = load_credential(home, "signing")
    assert after.leaf != before.leaf
    assert after.leaf.public_key() == before.leaf.public_key()
    assert chain_to_pem(chain_from_pem(issued.signing)) == chain_to_pem(after.chain)


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("signing.key", "not a PKCS#11 URI"),
        ("pkcs11:token=ff;object=a", "module-path"),
        ("pkcs11:token=ff?module-path=/x.so", "object or id"),
        ("pkcs11:token=ff;object=a?module-path=/x.so&pin-value=1", "PIN does not belong"),
        ("pkcs11:token=ff;object=a;slot-id=1?module-path=/x.so", "not slot-id"),
    ],
)
def test_a_uri_that_is_none_is_refused(uri, words):
    with pytest.raises(UsageError, match=words):
        parse_uri(uri)


def test_a_uri_is_unescaped():
    uri = parse_uri("pkcs11:token=The%20token;id=%01%ff?module-path=/x.so")
    assert (uri.token, uri.label, uri.module) == ("The token", None, "/x.so")
    assert uri.key_id == b"\x01\xff"


def test_a_home_that_has_a_key_does_not_take_another(authority, tmp_path):
    home = authority.join(tmp_path / "home", "hospital-1").home
    with pytest.raises(UsageError, match="already"):
        use_token(home, URI)
