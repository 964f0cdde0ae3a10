"""Admission of a real module: as published it passes, with anything changed it is refused."""

import datetime as dt
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from client_agent.errors import RefusedError
from client_agent.module.admission import check_module, check_publication
from client_agent.module.signing import sign_module
from client_agent.registry.modules import own_modules
from client_agent.registry.revocations import RevocationList
from ff_protocol import canonical
from ff_protocol.certificates import Purpose, chain_to_pem, issue_leaf, key_to_pem, make_key
from ff_protocol.clock import utc_now
from ff_protocol.files import write_atomically
from ff_protocol.manifest import describe_module
from ff_protocol.names import Identity, Role
from ff_protocol.statements import Publication, Revocation
from tests.homes import FEDERATION


@pytest.fixture
def offered(sites, tmp_path):
    """hospital-1's module as another site receives it, with its publication."""
    publisher, receiver = sites["hospital-1"], sites["hospital-2"]
    folder = tmp_path / "incoming"
    shutil.copytree(own_modules(publisher.home)["zero"], folder)
    return folder, publisher, receiver


def published(folder, site="hospital-1", name="zero"):
    digest, entries = describe_module(folder)
    return Publication("test-0123456789ab", site, name, digest, entries, "2026-11-23T12:00:00Z")


def test_a_module_as_published_is_admitted(offered):
    folder, _, receiver = offered
    card = check_module(folder, published(folder), receiver)
    assert card.class_name == "zero"
    assert card.training.images == "64-127"


def test_the_card_and_the_model_tell_nothing_of_machine_or_count(offered):
    import platform

    from client_agent.module import export

    folder, publisher, _ = offered
    card = (folder / "card.json").read_bytes()
    model = (folder / "module.onnx").read_bytes()
    for secret in (str(publisher.home.root), str(publisher.home.root.parent), export.__file__):
        assert secret.encode() not in card
        assert secret.encode() not in model
    assert platform.node() not in json.loads(card).values()


@pytest.mark.parametrize("name", ["module.onnx", "card.json", "module.sig"])
@pytest.mark.parametrize("change", ["flip", "append", "truncate"])
def test_any_change_of_any_file_is_refused(offered, name, change):
    folder, _, receiver = offered
    publication = published(folder)
    data = bytearray((folder / name).read_bytes())
    if change == "flip":
        data[len(data) // 2] ^= 1
    elif change == "append":
        data += b" "
    else:
        del data[-1]
    (folder / name).write_bytes(bytes(data))
    with pytest.raises(RefusedError):
        check_module(folder, publication, receiver)
    # Even if the publication is made to agree, the signature does not.
    if (name, change) not in {("module.sig", "append")}:  # trailing space in JSON is no change
        with pytest.raises(RefusedError):
            check_module(folder, published(folder), receiver)


@pytest.mark.parametrize("extra", ["notes.txt", ".gitignore"])
def test_an_added_file_is_refused_also_where_the_stock_tool_ignores_it(offered, extra):
    folder, _, receiver = offered
    publication = published(folder)
    (folder / extra).parent.mkdir(exist_ok=True)
    (folder / extra).write_text("x")
    with pytest.raises(RefusedError, match="exactly"):
        check_module(folder, publication, receiver)


def test_a_module_signed_by_another_site_is_refused(offered, sites):
    folder, _, receiver = offered
    (folder / "module.sig").unlink()
    sign_module(folder, sites["hospital-3"].home)
    with pytest.raises(RefusedError, match="signed by hospital-3"):
        check_module(folder, published(folder), receiver)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("class_name", "one"),
        ("class_index", 1),
        ("site_id", "hospital-2"),
        ("federation_id", "other"),
        ("image", {"size": 16, "channels": 1}),
    ],
)
def test_a_card_that_lies_is_refused_even_if_signed(offered, key, value):
    folder, publisher, receiver = offered
    card = json.loads((folder / "card.json").read_text())
    card[key] = value
    (folder / "card.json").write_bytes(canonical.dumps(card))
    (folder / "module.sig").unlink()
    sign_module(folder, publisher.home)
    with pytest.raises(RefusedError, match=key):
        check_module(folder, published(folder), receiver)


def test_a_class_outside_the_spec_is_refused_before_fetching(offered):
    folder, _, receiver = offered
    with pytest.raises(RefusedError, match="not in the federation spec"):
        check_publication(published(folder, name="seven"), receiver, RevocationList())


def test_a_revoked_module_is_refused_before_fetching(offered):
    folder, _, receiver = offered
    publication = published(folder)
    order = Revocation(
        "test-0123456789ab",
        str(Role.AUTHORITY),
        (publication.module,),
        None,
        "",
        1,
        None,
        "2026-11-23T12:00:00Z",
        "d",
    )
    with pytest.raises(RefusedError, match="revoked by authority"):
        check_publication(publication, receiver, RevocationList(relayed=(order,)))


STOCK = Path(sys.executable).with_name("model_signing")


def stock_verify(folder, site):
    """The stock command as docs/protocol.md gives it to outsiders: a program that is not ours."""
    command = [str(STOCK)] if STOCK.exists() else [sys.executable, "-m", "model_signing"]
    return subprocess.run(
        [
            *command,
            *("verify", "certificate", str(folder)),
            *("--signature", str(folder / "module.sig")),
            *("--certificate_chain", str(site.home.root_certificate)),
        ],
        capture_output=True,
        text=True,
    )


def test_the_stock_tool_verifies_a_module_as_published(offered):
    folder, _, receiver = offered
    done = stock_verify(folder, receiver)
    assert (done.returncode, "Verification succeeded" in done.stdout) == (0, True), done.stderr


@pytest.mark.parametrize("name", ["card.json", "module.onnx", "module.sig", "notes.txt"])
def test_the_stock_tool_notices_any_change_of_any_file(offered, name):
    folder, _, receiver = offered
    if name == "notes.txt":
        (folder / name).write_text("added")
    else:
        data = bytearray((folder / name).read_bytes())
        data[len(data) // 2] ^= 1
        (folder / name).write_bytes(bytes(data))
    done = stock_verify(folder, receiver)
    assert done.returncode != 0
    assert "Verification failed" in done.stdout + done.stderr
    assert "Verification succeeded" not in done.stdout


def sign_as(authority, home, purpose, begin_days, end_days):
    """Give a home a signing certificate of this purpose, valid from one day to another from now."""
    now, day = utc_now(), dt.timedelta(days=1)
    key = make_key()
    chain = issue_leaf(
        authority.issuing,
        key.public_key(),
        Identity(FEDERATION, Role.SITE, "hospital-1"),
        purpose,
        now=now + begin_days * day,
        lifetime=(end_days - begin_days) * day,
    )
    write_atomically(home.key("signing"), key_to_pem(key), mode=0o600)
    write_atomically(home.certificate("signing"), chain_to_pem(chain))


@pytest.mark.parametrize(
    ("purpose", "begin", "end", "reason", "asked"),
    [
        (Purpose.SIGNING, 0, -0.1, "expired", True),
        (Purpose.SIGNING, 2, 400, "not valid before", False),
        (Purpose.TLS_CLIENT, 0, 400, "not for signing", True),
        (Purpose.TLS_SERVER, 0, 400, "not for signing", False),
    ],
)
def test_certificates_that_the_stock_tool_lets_pass_are_refused_here(
    offered, authority, purpose, begin, end, reason, asked
):
    folder, publisher, receiver = offered
    sign_as(authority, publisher.home, purpose, begin, end)
    (folder / "module.sig").unlink()
    sign_module(folder, publisher.home)
    if asked:  # a second or so each
        assert stock_verify(folder, receiver).returncode == 0, "model-signing 1.1.1 accepts it"
    with pytest.raises(RefusedError, match=reason) as caught:
        check_module(folder, published(folder), receiver)
    assert caught.value.refusal_code == "signing_certificate"


def test_a_file_that_the_stock_tool_ignores_is_refused_here(offered):
    folder, _, receiver = offered
    publication = published(folder)
    (folder / ".git").mkdir()
    (folder / ".git" / "payload").write_text("anything")
    assert stock_verify(folder, receiver).returncode == 0, "model-signing 1.1.1 ignores .git"
    with pytest.raises(RefusedError, match="exactly") as caught:
        check_module(folder, publication, receiver)
    assert caught.value.refusal_code == "files"
