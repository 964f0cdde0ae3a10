"""init, invite, status and the shape of the program."""

import json
import stat
import subprocess
import sys
import time

import pytest
from click.testing import CliRunner

from coordinator.addresses import check_endpoint, split_endpoint
from coordinator.authority import renew_server_certificate
from coordinator.cli import main
from coordinator.errors import NotReadyError, UsageError
from coordinator.home import CoordinatorHome
from ff_protocol import key_encryption
from ff_protocol.certificates import RENEW_BEFORE
from ff_protocol.clock import utc_now
from ff_protocol.invitation import parse_invitation
from ff_protocol.names import Role

SPEC = "classes: [a, b]\nimage: {size: 8, channels: 1}\n"


def run(*arguments):
    command, *rest = map(str, arguments)
    result = CliRunner().invoke(main, [command, "--json", *rest])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, json.loads(result.stdout)


@pytest.fixture
def home(tmp_path):
    (tmp_path / "spec.yaml").write_text(SPEC)
    code, document = init(tmp_path)
    assert (code, document["status"]) == (0, "ok")
    return CoordinatorHome(tmp_path / "home")


def init(folder, *extra, name="Blood cells"):
    spec = folder / "spec.yaml"
    return run("init", "--home", folder / "home", "--federation", name, "--spec", spec, *extra)


def test_init_names_the_federation_after_its_root(home):
    trust = home.trust()
    assert trust.federation_id == f"blood-cells-{trust.fingerprint[:12]}"


def test_keys_are_for_the_owner_alone(home):
    keys = list(home.root.rglob("*.key"))
    assert len(keys) == 4
    assert {stat.S_IMODE(key.stat().st_mode) for key in keys} == {0o600}
    folders = [path for path in home.root.rglob("*") if path.is_dir()]
    assert {stat.S_IMODE(path.stat().st_mode) for path in (home.root, *folders)} == {0o700}
    assert [path.name for path in home.root.parent.iterdir() if path.name.startswith(".")] == []


def test_init_again_is_a_no_op_only_for_the_same_federation(home, tmp_path):
    code, document = init(tmp_path)
    assert (code, document["already"]) == (0, True)
    code, document = init(tmp_path, name="Other")
    assert (code, document["error_code"]) == (2, "usage")
    (tmp_path / "spec.yaml").write_text(SPEC.replace("[a, b]", "[a, c]"))
    assert init(tmp_path)[0] == 2


def test_init_fills_an_empty_folder_that_it_cannot_replace(tmp_path):
    """A package's state directory, or a volume's mount point."""
    (tmp_path / "spec.yaml").write_text(SPEC)
    folder = tmp_path / "home"
    folder.mkdir()
    before = folder.stat().st_ino
    assert init(tmp_path)[0] == 0
    assert folder.stat().st_ino == before
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert not [path for path in folder.iterdir() if path.name.endswith(".part")]
    assert init(tmp_path)[1]["already"]


def test_init_begins_anew_where_one_was_cut_off(tmp_path, monkeypatch):
    (tmp_path / "spec.yaml").write_text(SPEC)
    folder = tmp_path / "home"
    folder.mkdir()
    with monkeypatch.context() as patch:
        patch.setattr("coordinator.authority.sync_folder", lambda folder: None)
        patch.setattr("coordinator.authority.shutil.rmtree", lambda *_, **__: None)  # no clean-up
        rename = type(folder).rename

        def cut_off(path, target):
            if path.name == "coordinator.yaml":
                raise KeyboardInterrupt
            return rename(path, target)

        patch.setattr(type(folder), "rename", cut_off)
        assert init_is_cut_off(tmp_path)
    assert (folder / "issuing").exists()
    assert not (folder / "coordinator.yaml").exists()
    (folder / "store" / "something").touch()
    assert init(tmp_path)[0] == 2, "what was served is never taken for a beginning"
    assert (folder / "issuing").exists()
    (folder / "store" / "something").unlink()
    assert init(tmp_path)[0] == 0


def init_is_cut_off(folder):
    arguments = ("--home", folder / "home", "--federation", "x", "--spec", folder / "spec.yaml")
    return CliRunner().invoke(main, ["init", *map(str, arguments)]).exit_code != 0


def test_init_leaves_a_folder_with_other_things_alone(tmp_path):
    (tmp_path / "spec.yaml").write_text(SPEC)
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.txt").write_text("precious")
    code, document = init(tmp_path)
    assert (code, document["error_code"]) == (2, "usage")
    assert [path.name for path in (tmp_path / "home").iterdir()] == ["thesis.txt"]


def test_a_wrong_spec_is_named(tmp_path):
    (tmp_path / "spec.yaml").write_text(SPEC + "epochs: 3\n")
    code, document = init(tmp_path)
    assert code == 10
    assert "unknown key 'epochs'" in document["message"]
    assert not (tmp_path / "home").exists()


def test_an_invitation_is_a_secret_file_for_one_site(home, tmp_path):
    path = tmp_path / "invitation.json"
    code, document = run(
        *("invite", "st-anna", "--home", home.root, "--endpoint", "127.0.0.1:7443"),
        *("--output", path),
    )
    assert (code, document["fingerprint"]) == (0, home.trust().fingerprint)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    invitation = parse_invitation(path.read_bytes(), at=utc_now())
    assert (invitation.site_id, invitation.server_name) == ("st-anna", None)
    assert "PRIVATE" not in json.dumps(document)


def test_an_endpoint_that_the_certificate_lacks_is_checked_by_another_name(home, tmp_path):
    path = tmp_path / "invitation.json"
    run(
        *("invite", "st-anna", "--home", home.root, "--endpoint", "relay.example.org:7443"),
        *("--output", path),
    )
    assert parse_invitation(path.read_bytes(), at=utc_now()).server_name == "localhost"


@pytest.mark.parametrize("site", ["St Anna", "../x", "", "authority", "coordinator", "-a"])
def test_bad_and_reserved_site_names_are_refused(home, site):
    code, document = run("invite", "--home", home.root, "--endpoint", "h:1", "--", site)
    assert (code, document["error_code"]) == (2, "usage")


def test_invite_says_what_is_missing(home, tmp_path):
    code, document = run("invite", "st-anna", "--home", home.root)
    assert (code, document["message"]) == (2, "--endpoint is missing")
    code, document = run("invite", "st-anna", "--home", tmp_path / "nowhere")
    assert (code, document["error_code"]) == (7, "not_ready")
    assert "ff-coordinator init" in document["hint"]


def test_serve_says_when_the_address_is_taken(home):
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = subprocess.run(
            [
                *(sys.executable, "-m", "coordinator.cli", "serve", "--home", str(home.root)),
                *("--listen", f"127.0.0.1:{port}"),
            ],
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )
    assert done.returncode == 4
    assert done.stderr.splitlines()[0].startswith(f"error: cannot listen on 127.0.0.1:{port}")
    assert done.stderr.splitlines()[1].startswith("hint: ")


def test_status_counts(home):
    code, document = run("status", "--home", home.root)
    assert code == 0
    assert (document["sites"], document["publications"], document["revocations"]) == ([], 0, 0)


def test_the_server_certificate_is_renewed_before_its_end(home):
    held = home.credential("server")
    end = held.leaf.not_valid_after_utc
    assert renew_server_certificate(home, utc_now()).leaf == held.leaf
    renewed = renew_server_certificate(home, end - RENEW_BEFORE)
    assert renewed.leaf.not_valid_after_utc > end
    assert home.credential("server").leaf == renewed.leaf


def test_the_spec_is_signed_by_the_authority(home):
    from ff_protocol import dsse

    payload = dsse.verify(
        home.spec_envelope.read_bytes(), home.trust(), (Role.AUTHORITY,), at=utc_now()
    )
    assert payload.signer.role is Role.AUTHORITY


@pytest.mark.parametrize(
    ("text", "parts"),
    [("h:1", ("h", 1)), ("[::1]:7443", ("::1", 7443)), ("10.0.0.1:0", ("10.0.0.1", 0))],
)
def test_addresses(text, parts):
    assert split_endpoint(text) == parts


@pytest.mark.parametrize("text", ["", "h", "h:", ":1", "h:x", "h:70000", "::1:7443", "h:0"])
def test_wrong_addresses(text):
    with pytest.raises(UsageError):
        check_endpoint(text)


def imported(statement):
    code = f"import sys; {statement}; print(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_the_server_needs_no_numerical_library():
    heavy = {"numpy", "torch", "diffusers", "onnx", "onnxruntime", "sklearn", "PIL", "pydicom"}
    assert not imported("import coordinator.server, coordinator.object_store") & heavy
    assert "client_agent" not in imported("import coordinator.server")


def test_help_imports_nothing_heavy_and_is_quick():
    assert not imported("import coordinator.cli") & {"grpc", "pydantic", "cryptography", "obstore"}
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "coordinator.cli", "--help"], capture_output=True, check=True
    )
    assert time.perf_counter() - started < 2  # 0.2 s on an idle machine


def test_a_stolen_server_key_is_replaced_by_deleting_it(home):
    held = home.credential("server")
    home.key("server").unlink()
    with pytest.raises(NotReadyError):
        renew_server_certificate(home, utc_now())
    home.certificate("server").unlink()
    made = renew_server_certificate(home, utc_now())
    assert made.key.private_numbers() != held.key.private_numbers()
    assert home.credential("server").leaf == made.leaf


def test_an_offline_root_is_not_in_the_home_and_is_not_overwritten(tmp_path):
    (tmp_path / "spec.yaml").write_text(SPEC)
    safe = tmp_path / "safe"
    code, document = init(tmp_path, "--offline-root", safe)
    assert code == 0
    home = CoordinatorHome(tmp_path / "home")
    assert not home.key("root").exists()
    assert stat.S_IMODE((safe / "root.key").stat().st_mode) == 0o600
    path = tmp_path / "invitation.json"
    code, _ = run(
        *("invite", "st-anna", "--home", home.root, "--endpoint", "h:1", "--output", path)
    )
    assert code == 0
    other = tmp_path / "other"
    spec = tmp_path / "spec.yaml"
    code, document = run(
        *("init", "--home", other, "--federation", "x", "--spec", spec, "--offline-root", safe)
    )
    assert (code, other.exists()) == (2, False)
    assert "already" in document["message"]


def test_the_keys_of_a_home_are_encrypted_from_the_start_or_later(tmp_path, monkeypatch):
    monkeypatch.setattr(key_encryption, "SCRYPT_N", 2**10)
    monkeypatch.delenv("FF_PASSPHRASE", raising=False)
    phrase, other = tmp_path / "phrase", tmp_path / "other"
    phrase.write_text("correct horse battery")
    other.write_text("another long phrase")
    (tmp_path / "spec.yaml").write_text(SPEC)
    assert init(tmp_path, "--passphrase-file", phrase)[0] == 0
    home = tmp_path / "home"
    keys = list(home.rglob("*.key"))
    assert len(keys) == 4
    assert all(b"ENCRYPTED" in key.read_bytes() for key in keys)
    invite = ("invite", "st-anna", "--home", home, "--endpoint", "h:1")
    invite = (*invite, "--output", tmp_path / "invitation.json")
    code, document = run(*invite)
    assert (code, document["error_code"]) == (5, "passphrase")
    code, document = run(*invite, "--passphrase-file", other)
    assert (code, document["error_code"]) == (5, "passphrase")
    assert run(*invite, "--passphrase-file", phrase)[0] == 0
    assert run("status", "--home", home)[0] == 0
    change = ("passphrase", "--home", home, "--passphrase-file", phrase)
    assert run(*change, "--change", "--new-passphrase-file", other)[1]["keys"] == 4
    assert run(*invite, "--passphrase-file", other)[0] == 0
    code, document = run("passphrase", "--home", home, "--passphrase-file", other, "--remove")
    assert (code, document["encrypted"]) == (0, False)
    assert run(*invite)[0] == 0
