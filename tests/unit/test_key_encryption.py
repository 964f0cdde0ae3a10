"""Private keys under a passphrase: the form, where the passphrase comes from, changing it."""

import shutil
import subprocess

import pytest

from client_agent.credentials import key_files, load_credential
from client_agent.home import Home
from ff_protocol import key_encryption
from ff_protocol.certificates import key_from_pem, key_to_pem, make_key
from ff_protocol.errors import ExitCode, MalformedError, PassphraseError
from ff_protocol.key_encryption import is_encrypted
from ff_protocol.passphrase import Passphrase, act, change
from tests.agents import agent, agent_json

PHRASE, OTHER = b"correct horse battery", b"another long phrase"


@pytest.fixture
def cheap_derivation(monkeypatch):
    """The parameters stand in the file: what is written cheaply is read cheaply."""
    monkeypatch.setattr(key_encryption, "SCRYPT_N", 2**10)
    monkeypatch.setattr(key_encryption, "SCRYPT_P", 1)


def test_a_key_survives_encryption_and_a_wrong_passphrase_is_said():
    key = make_key()
    pem = key_to_pem(key, PHRASE)
    assert is_encrypted(pem)
    assert key_from_pem(pem, PHRASE).private_numbers() == key.private_numbers()
    assert key_to_pem(key, PHRASE) != pem  # a salt of its own
    with pytest.raises(PassphraseError, match="wrong") as caught:
        key_from_pem(pem, OTHER)
    assert caught.value.exit_code == ExitCode.IDENTITY
    with pytest.raises(MalformedError):
        key_from_pem(pem)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
def test_openssl_reads_it_and_calls_it_scrypt(tmp_path):
    (tmp_path / "key.pem").write_bytes(key_to_pem(make_key(), PHRASE))
    command = ["openssl", "pkey", "-in", "key.pem", "-noout", "-passin"]
    good = subprocess.run([*command, f"pass:{PHRASE.decode()}"], cwd=tmp_path, check=False)
    bad = subprocess.run([*command, "pass:no"], cwd=tmp_path, check=False, capture_output=True)
    assert (good.returncode, bad.returncode == 0) == (0, False)
    shown = subprocess.run(
        ["openssl", "asn1parse", "-in", "key.pem"], cwd=tmp_path, check=True, capture_output=True
    ).stdout
    assert b":scrypt" in shown
    assert b":aes-256-cbc" in shown


def test_the_file_comes_before_the_environment(tmp_path, monkeypatch):
    (tmp_path / "phrase").write_bytes(PHRASE + b"\nnot this\n")
    monkeypatch.setenv("FF_PASSPHRASE", OTHER.decode())
    assert Passphrase(tmp_path / "phrase").required() == PHRASE
    assert Passphrase().required() == OTHER


def test_without_a_terminal_nobody_is_asked(tmp_path, monkeypatch):
    monkeypatch.delenv("FF_PASSPHRASE", raising=False)
    with pytest.raises(PassphraseError, match="none was given"):
        Passphrase().required()
    with pytest.raises(PassphraseError, match="cannot read"):
        Passphrase(tmp_path / "absent").required()
    (tmp_path / "empty").write_bytes(b"\n")
    with pytest.raises(PassphraseError, match="empty"):
        Passphrase(tmp_path / "empty").required()


def test_a_terminal_is_asked_once(monkeypatch):
    monkeypatch.delenv("FF_PASSPHRASE", raising=False)
    asked = []
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("getpass.getpass", lambda prompt: asked.append(prompt) or PHRASE.decode())
    source = Passphrase()
    assert [source.required(), source.required()] == [PHRASE, PHRASE]
    assert len(asked) == 1


def phrase_file(folder, phrase):
    path = folder / phrase.decode().replace(" ", "-")
    path.write_bytes(phrase)
    return path


@pytest.mark.usefixtures("cheap_derivation")
def test_set_change_and_remove(authority, tmp_path):
    site = authority.join(tmp_path / "home", "hospital-1")
    files = [path for path in key_files(site.home) if path.exists()]
    plain = {path: site.home.passphrase.read_key(path).private_numbers() for path in files}
    one, two = phrase_file(tmp_path, PHRASE), phrase_file(tmp_path, OTHER)

    def held(phrase_file):
        home = Home(site.home.root, Passphrase(phrase_file))
        return {path: home.passphrase.read_key(path).private_numbers() for path in files}

    assert act("set", files, Passphrase(), one) == 2
    assert all(is_encrypted(path.read_bytes()) for path in files)
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
    assert held(one) == plain
    with pytest.raises(PassphraseError, match="already"):
        act("set", files, Passphrase(one), two)
    with pytest.raises(PassphraseError, match="wrong"):
        act("change", files, Passphrase(two), two)
    assert act("change", files, Passphrase(one), two) == 2
    assert held(two) == plain
    assert act("remove", files, Passphrase(two), None) == 2
    assert held(None) == plain


@pytest.mark.usefixtures("cheap_derivation")
def test_a_change_that_was_cut_off_is_finished_by_another_one(tmp_path):
    keys = [make_key(), make_key()]
    paths = [tmp_path / "a.key", tmp_path / "b.key"]
    paths[0].write_bytes(key_to_pem(keys[0], OTHER))  # as far as the first attempt came
    paths[1].write_bytes(key_to_pem(keys[1], PHRASE))
    assert change(paths, Passphrase(phrase_file(tmp_path, PHRASE)), OTHER) == 2
    for path, key in zip(paths, keys, strict=True):
        assert key_from_pem(path.read_bytes(), OTHER).private_numbers() == key.private_numbers()


def test_a_short_passphrase_is_not_taken(tmp_path):
    (tmp_path / "a.key").write_bytes(key_to_pem(make_key()))
    with pytest.raises(PassphraseError, match="at least 8"):
        act("set", [tmp_path / "a.key"], Passphrase(), phrase_file(tmp_path, b"short"))
    assert not is_encrypted((tmp_path / "a.key").read_bytes())


def test_the_command_and_its_exit_code(authority, tmp_path):
    home = authority.join(tmp_path / "home", "hospital-1").home
    one, two = phrase_file(tmp_path, PHRASE), phrase_file(tmp_path, OTHER)
    done = agent_json(home.root, "passphrase", "--set", "--new-passphrase-file", one)
    assert (done["keys"], done["encrypted"]) == (2, True)
    for path in home.key("tls").parent.iterdir():
        assert is_encrypted(path.read_bytes())
    # What needs no key needs no passphrase.
    assert agent_json(home.root, "status")["identity"]["tls"]["days"] > 300
    wrong = agent(home.root, "renew", "--all", "--json", "--passphrase-file", two)
    assert (wrong.code, wrong.document["error_code"]) == (5, "passphrase")
    missing = agent(home.root, "renew", "--all", "--json")
    assert (missing.code, missing.document["error_code"]) == (5, "passphrase")
    assert load_credential(Home(home.root, Passphrase(one)), "tls").leaf is not None
