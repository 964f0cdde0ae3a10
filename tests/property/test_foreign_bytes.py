"""Every parser of foreign bytes: only the package's own errors, in bounded time, and round trips.

Changes to valid bytes reach deeper than random ones. `make fuzz` searches the same parsers for
longer, guided by coverage; what it or this found is listed at the end.
"""

import base64
import textwrap
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ff_protocol import canonical
from ff_protocol.errors import MalformedError, SpecError
from ff_protocol.schema import load_yaml
from tests.fuzz.parsers import PARSERS

SECONDS = 5.0
BITES = [b"", b"\0", b"\xff", b'"', b"{", b"[", b"]", b",", b"0", b"-1", b"1e999", b"null", b"\n"]
BITES += [b"\\ud800", b"9" * 30, b"true", b"A" * 100, b"../", b"-----BEGIN", b"\x80\x01", b"&a *a"]


@st.composite
def mutations(draw: st.DrawFn, seed: bytes) -> bytes:
    """Valid bytes with up to four pieces replaced, repeated, cut out, or put in."""
    data = seed
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, max(0, len(data))))
        size = draw(st.sampled_from([0, 0, 1, 1, 2, 4, 16, 64, 512]))
        piece = draw(
            st.sampled_from(BITES) | st.binary(max_size=4) | st.just(data[start : start + size] * 2)
        )
        data = data[:start] + piece + data[start + size :]
    return data


@pytest.mark.parametrize("name", PARSERS)
def test_what_our_own_code_writes_is_read(name: str) -> None:
    for seed in PARSERS[name].seeds():
        assert PARSERS[name].check(seed)


@pytest.mark.parametrize("name", PARSERS)
def test_changed_bytes_end_in_an_error_of_ours_or_in_the_same_value(name: str) -> None:
    parser = PARSERS[name]
    seeds = parser.seeds()

    @settings(
        max_examples=40, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(st.sampled_from(seeds).flatmap(mutations) | st.binary(max_size=200))
    def check(data: bytes) -> None:
        started = time.process_time()
        parser.check(data)
        assert time.process_time() - started < SECONDS

    check()


# Found by fuzzing, and mended


@pytest.mark.parametrize(
    "data",
    [
        b"1e999",  # became infinity, which no statement can be signed with
        b'{"a":[-1e400]}',
        b'"\\ud800"',  # half of a surrogate pair: no terminal and no log could show it
        b'{"\\udfff":1}',
    ],
)
def test_values_that_json_cannot_hold_are_refused(data: bytes) -> None:
    with pytest.raises(MalformedError):
        canonical.loads(data, max_bytes=100)


def test_a_whole_surrogate_pair_is_a_character() -> None:
    assert canonical.loads(b'"\\ud83d\\ude00"', max_bytes=100) == "\U0001f600"


def test_a_key_without_canonical_form_is_an_error_of_ours() -> None:
    with pytest.raises(MalformedError):
        canonical.dumps({"\ud800": 1})


def pem(kind: str, der: bytes) -> bytes:
    body = textwrap.fill(base64.b64encode(der).decode(), 64)
    return f"-----BEGIN {kind}-----\n{body}\n-----END {kind}-----\n".encode()


def changed(seed: bytes, old: str, new: str) -> bytes:
    """PEM with some DER bytes of its content, given in hexadecimal, replaced by others."""
    kind = seed.partition(b"-----BEGIN ")[2].partition(b"-----")[0].decode()
    der = base64.b64decode(b"".join(seed.split(b"\n")[1:-2]))
    assert bytes.fromhex(old) in der
    return pem(kind, der.replace(bytes.fromhex(old), bytes.fromhex(new)))


EC_KEY, P_256, VERSION_3 = "2a8648ce3d0201", "2a8648ce3d030107", "a003020102"


@pytest.mark.parametrize(
    ("parser", "old", "new"),
    [
        ("key", EC_KEY, "2a8648ce3d027f"),  # UnsupportedAlgorithm
        ("request", P_256, "2a8648ce3d03017f"),
        ("certificates", VERSION_3, "a003020116"),  # InvalidVersion, no ValueError
    ],
)
def test_keys_and_certificates_of_no_known_kind_are_refused(
    parser: str, old: str, new: str
) -> None:
    seed = PARSERS[parser].seeds()[0]
    assert not PARSERS[parser].check(changed(seed, old, new))


@pytest.mark.parametrize(("old", "new"), [("03420004", "03420005"), (P_256, "2a8648ce3d03017f")])
def test_a_statement_signed_with_what_is_no_key_is_refused(old: str, new: str) -> None:
    document = canonical.loads(PARSERS["envelope"].seeds()[0], max_bytes=1 << 16)
    (entry,) = document["signatures"]
    leaf, _, rest = entry["certificates"].partition("-----END CERTIFICATE-----\n")
    bad = changed(f"{leaf}-----END CERTIFICATE-----\n".encode(), old, new).decode()
    entry["certificates"] = bad + rest
    assert not PARSERS["envelope"].check(canonical.dumps(document))


@pytest.mark.parametrize(
    "text",
    [
        "a: 2024-99-99",  # a date that is none: ValueError
        "[" * 100_000,  # hours, then RecursionError
        "{" * 2000,
        "- " * 5000 + "x",
        "? " * 5000 + "x",
        "a: &x {b: *x}",  # contains itself
        "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]",  # thirty such lines stand for gigabytes
    ],
)
def test_yaml_that_explodes_is_refused_at_once(text: str) -> None:
    started = time.process_time()
    with pytest.raises(SpecError):
        load_yaml(text, "policy.yaml")
    assert time.process_time() - started < SECONDS
