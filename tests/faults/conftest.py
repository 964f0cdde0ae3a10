"""A coordinator in memory that holds one module: for whatever it may do to statements."""

from pathlib import Path

import pytest

from client_agent.site import Site
from tests.relays import Exchange, MemoryRelay


@pytest.fixture(scope="session")
def exchange(trained_homes: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Exchange:
    """Hospital-3 has sent its module; hospital-1 has it in use."""
    folder = tmp_path_factory.mktemp("exchange")
    return Exchange.make(trained_homes, folder, senders=("hospital-3",), receiver="hospital-1")


@pytest.fixture
def relay(
    exchange: Exchange, sites: dict[str, Site], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> MemoryRelay:
    """A coordinator to which hospital-3 has sent its module; hospital-1 has it in use."""
    return exchange.take_up(sites, tmp_path, monkeypatch)
