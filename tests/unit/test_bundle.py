"""Bundles: what comes out is what went in, and whatever else a tar can hold is refused."""

import io
import os
import tarfile
import time

import pytest

pytest.importorskip("torch")

from client_agent.bundle import layout
from client_agent.bundle.archive import read_index
from client_agent.errors import NotReadyError, RefusedError, UsageError
from client_agent.registry.modules import own_modules
from client_agent.steps.bundle import export_bundle, import_bundle
from client_agent.steps.revoke import revoke
from ff_protocol.errors import FederatedFactoryError, MalformedError
from ff_protocol.manifest import describe_module
from tests.agents import agent
from tests.homes import make_authority


def digest_of(site):
    (folder,) = own_modules(site.home).values()
    return describe_module(folder)[0]


@pytest.fixture
def bundle(sites, tmp_path):
    """Everything that hospital-1 has: its own module."""
    path = tmp_path / "disk" / "bundle.tar"
    path.parent.mkdir()
    export_bundle(sites["hospital-1"], path)
    return path


def members(path):
    with tarfile.open(path) as archive:
        return [(member, archive.extractfile(member).read()) for member in archive.getmembers()]


def rewrite(path, entries):
    """A bundle with these (TarInfo, bytes), as tarfile writes them."""
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
        for member, data in entries:
            archive.addfile(member, io.BytesIO(data) if member.isreg() else None)
    return path


def test_modules_travel_between_sites_that_share_no_network(sites, bundle, tmp_path):
    first, second = sites["hospital-1"], sites["hospital-2"]
    received = import_bundle(second, bundle)
    assert received.admitted == [digest_of(first)]
    assert received.refused == {}
    assert describe_module(second.home.admitted(digest_of(first)))[0] == digest_of(first)
    again = import_bundle(second, bundle)
    assert (again.admitted, again.refused) == ([], {})
    onward = export_bundle(second, tmp_path / "onward.tar", everything=True)
    assert set(onward.modules) == {digest_of(first), digest_of(second)}
    third = import_bundle(sites["hospital-3"], tmp_path / "onward.tar")
    assert set(third.admitted) == set(onward.modules)


def test_a_revocation_travels_too_and_is_applied_first(sites, bundle, tmp_path):
    first, second = sites["hospital-1"], sites["hospital-2"]
    import_bundle(second, bundle)
    digest = digest_of(first)
    revoke(first, module=digest, rebuild=False)
    export_bundle(first, tmp_path / "later.tar", everything=True)
    received = import_bundle(second, tmp_path / "later.tar")
    assert received.revocations == 1
    assert received.pending.modules == (digest,)
    assert not second.home.admitted(digest).exists()
    again = import_bundle(second, bundle)  # the old disk turns up again
    assert again.admitted == []


def test_modules_can_be_named(sites, bundle, tmp_path):
    first, second = sites["hospital-1"], sites["hospital-2"]
    import_bundle(second, bundle)
    named = export_bundle(second, tmp_path / "named.tar", (digest_of(first)[:8],))
    assert named.modules == (digest_of(first),)
    with pytest.raises(UsageError, match="no module"):
        export_bundle(second, tmp_path / "other.tar", ("0123456789",))


def test_nothing_is_overwritten_and_nothing_half_is_left(sites, bundle, tmp_path):
    before = bundle.read_bytes()
    with pytest.raises(UsageError, match="exists"):
        export_bundle(sites["hospital-1"], bundle)
    assert bundle.read_bytes() == before
    with pytest.raises(FederatedFactoryError, match="cannot write"):
        export_bundle(sites["hospital-1"], tmp_path / "absent" / "bundle.tar")
    assert [path.name for path in bundle.parent.iterdir()] == ["bundle.tar"]


def test_a_site_without_anything_says_so(tmp_path):
    site = make_authority().join(tmp_path / "home", "hospital-9")
    with pytest.raises(NotReadyError):
        export_bundle(site, tmp_path / "empty.tar")


def test_a_bundle_of_another_federation_is_refused(sites, bundle):
    entries = members(bundle)
    label = entries[0][1].replace(b"test-0123456789ab", b"best-0123456789ab")
    entries[0] = (entries[0][0], label)
    with pytest.raises(RefusedError, match="federation 'best-0123456789ab'"):
        import_bundle(sites["hospital-2"], rewrite(bundle, entries))


def test_another_federations_module_is_refused_whatever_the_label_says(sites, bundle, tmp_path):
    stranger = make_authority(classes=["zero", "one", "two"]).join(tmp_path / "s", "hospital-8")
    received = import_bundle(stranger, bundle)
    assert received.admitted == []
    assert any("certificate refused" in reason for reason in received.refused.values())


def test_altered_bytes_are_refused_and_the_whole_disk_mends_it(sites, bundle, tmp_path):
    second = sites["hospital-2"]
    entries = members(bundle)
    changed = [
        (member, data[:-1] + b"x" if member.name.endswith(".onnx") else data)
        for member, data in entries
    ]
    received = import_bundle(second, rewrite(tmp_path / "altered.tar", changed))
    assert received.admitted == []
    (reason,) = received.refused.values()
    assert "other bytes" in reason
    assert len(import_bundle(second, bundle).admitted) == 1


KINDS = [
    *(tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE),
    *(tarfile.FIFOTYPE, tarfile.DIRTYPE, tarfile.CONTTYPE, tarfile.GNUTYPE_SPARSE),
]


@pytest.mark.parametrize("kind", KINDS)
def test_only_plain_files_are_read(sites, bundle, kind):
    entries = members(bundle)
    extra = tarfile.TarInfo(layout.file_name("0" * 64, "card.json"))
    extra.type, extra.linkname = kind, "/etc/passwd"
    with pytest.raises(MalformedError, match=r"plain files only"):
        import_bundle(sites["hospital-2"], rewrite(bundle, [*entries, (extra, b"")]))
    assert not sites["hospital-2"].home.incoming("0" * 64).exists()


@pytest.mark.parametrize(
    "name",
    [
        *("../evil", "/etc/passwd", "modules/../x", "statements/x.dsse", "bundle.json/"),
        *("modules/" + "A" * 64 + "/card.json", "modules/" + "0" * 64 + "/run.py", "card.json"),
    ],
)
def test_only_names_of_a_bundle_are_read(sites, bundle, name):
    entries = members(bundle)
    extra = tarfile.TarInfo("placeholder")
    extra.size = 1
    extra.name = name
    raw = rewrite(bundle, [*entries, (extra, b"x")])
    with pytest.raises(MalformedError, match="does not belong"):
        import_bundle(sites["hospital-2"], raw)


def test_a_name_twice_is_refused(sites, bundle):
    entries = members(bundle)
    with pytest.raises(MalformedError, match="twice"):
        import_bundle(sites["hospital-2"], rewrite(bundle, [*entries, entries[-1]]))


def test_a_bundle_cut_off_anywhere_is_refused_whole(sites, bundle):
    data = bundle.read_bytes()
    end = len(data.rstrip(b"\0"))
    for length in [*range(0, end, 100_003), end, len(data) - 10_240]:
        bundle.write_bytes(data[:length])
        with pytest.raises(MalformedError):
            import_bundle(sites["hospital-2"], bundle)
    assert not (sites["hospital-2"].home.root / "incoming").exists()


@pytest.mark.parametrize("extra", [b"x", bytes(10_240), b"\0" * 511 + b"x"])
def test_something_appended_is_refused(sites, bundle, extra):
    bundle.write_bytes(bundle.read_bytes() + extra * 2)
    with pytest.raises(MalformedError, match="appended"):
        import_bundle(sites["hospital-2"], bundle)


def test_something_hidden_between_files_is_refused(sites, bundle):
    data = bytearray(bundle.read_bytes())
    size = len(members(bundle)[0][1])
    data[512 + size] = 1
    bundle.write_bytes(data)
    with pytest.raises(MalformedError, match="between"):
        import_bundle(sites["hospital-2"], bundle)


def test_gigantic_sizes_are_refused_before_anything_is_allocated(sites, bundle):
    entries = members(bundle)
    for claimed in (8 * 2**30 - 1, 100 * 2**20):
        header = tarfile.TarInfo(layout.file_name("0" * 64, "module.onnx"))
        header.size = claimed
        rewrite(bundle, entries)
        data = bundle.read_bytes()
        end = len(data.rstrip(b"\0")) // 512 * 512 + 512
        bundle.write_bytes(data[:end] + header.tobuf(tarfile.USTAR_FORMAT))
        os.truncate(bundle, 9 * 2**30)  # sparse: no disk is used
        started = time.process_time()
        with pytest.raises(MalformedError, match="are accepted"):
            import_bundle(sites["hospital-2"], bundle)
        assert time.process_time() - started < 5


def test_more_members_than_a_bundle_may_have_are_refused(tmp_path):
    header = tarfile.TarInfo("x").tobuf(tarfile.USTAR_FORMAT)
    names = (layout.statement_name(f"{number:064x}") for number in range(30))
    blocks = [tarfile.TarInfo(name).tobuf(tarfile.USTAR_FORMAT) for name in names]
    assert len(header) == 512
    stream = io.BytesIO(b"".join(blocks) + bytes(1024))
    size = len(stream.getvalue())
    assert len(read_index(stream, size, lambda name: 10, 30)) == 30
    with pytest.raises(MalformedError, match="more than 29"):
        read_index(stream, size, lambda name: 10, 29)


def test_too_many_bytes_of_statements_are_refused(sites, bundle, monkeypatch):
    monkeypatch.setattr(layout, "MAX_STATEMENT_BYTES", 100)
    with pytest.raises(MalformedError, match="more than a bundle may have"):
        import_bundle(sites["hospital-2"], bundle)


@pytest.mark.parametrize("what", ["pipe", "folder", "nothing", "rubbish", "empty"])
def test_what_is_no_bundle_ends_with_one_clear_line(sites, tmp_path, what):
    path = tmp_path / "thing"
    if what == "pipe":
        os.mkfifo(path)
    elif what == "folder":
        path.mkdir()
    elif what != "nothing":
        path.write_bytes(os.urandom(5000) if what == "rubbish" else b"")
    done = agent(sites["hospital-2"].home.root, "bundle", "import", path)
    assert done.code in (2, 6), done.err
    assert "Traceback" not in done.err
    assert done.err.startswith("error: ")


def test_the_command_exports_and_imports(sites, tmp_path):
    path = tmp_path / "bundle.tar"
    first, second = (sites[f"hospital-{number}"].home.root for number in (1, 2))
    assert agent(first, "bundle", "export", path).code == 0
    done = agent(second, "bundle", "import", path, "--json")
    assert done.document["admitted"] == [digest_of(sites["hospital-1"])]
    assert path.stat().st_mode & 0o777 == 0o600
