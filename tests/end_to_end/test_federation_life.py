"""A federation founded by an earlier version goes on with this one, and its spec changes twice.

Real processes and connections. The homes are those of tests/old_homes: a coordinator and two
hospitals, each with one class of digits.
"""

import re
from pathlib import Path

import pytest
import yaml

from client_agent.home import Home
from client_agent.registry.modules import remove_folder
from client_agent.registry.refusals import refusals
from client_agent.site import open_site
from client_agent.steps.receive import Received, receive
from client_agent.steps.status import status
from client_agent.steps.upgrade import upgrade
from coordinator.home import CoordinatorHome
from coordinator.store_format import FORMAT
from tests.agents import agent, agent_json
from tests.conftest import digits_npz
from tests.federation import TestFederation, ff_coordinator
from tests.old_homes import unpack

SITES = ("hospital-1", "hospital-2")


@pytest.fixture(scope="module")
def federation(tmp_path_factory):
    """Served by this version; both homes upgraded and pointed at it."""
    folder = unpack("card-2", tmp_path_factory.mktemp("federation"))
    federation = TestFederation(folder, CoordinatorHome(folder / "coordinator"))
    try:
        endpoint = federation.start().endpoint
        for name in SITES:
            file = Home(folder / name).site_file
            file.write_text(re.sub("endpoint: .*", f"endpoint: {endpoint}", file.read_text()))
            upgrade(Home(folder / name))
        yield federation
    finally:
        for server in federation.servers:
            server.kill()


def publish(federation: TestFederation, *options: str, **changes) -> dict:
    """Publish the spec of hospital-1 with some changes."""
    held = open_site(Home(federation.folder / "hospital-1")).spec.model_dump(mode="json")
    file = federation.folder / "spec.yaml"
    file.write_text(yaml.safe_dump(held | changes))
    return ff_coordinator("spec", str(file), "--home", str(federation.home.root), *options)


def test_a_federation_outlives_its_programs_and_its_spec(federation):
    homes = [federation.folder / name for name in SITES]
    first, second = homes
    for home in homes:
        received = take(home)
        assert received.refused == {}
        assert received.warnings == []
    assert operator(federation)["site_revisions"] == dict.fromkeys(SITES, 1)

    # Additive: adopted by whoever receives, modules stay, classifiers are of that revision.
    changes = {"classes": ["zero", "one", "two"]}
    checked = publish(federation, "--check", **changes)
    assert (checked["revision"], checked["published"], checked["additive"]) == (2, False, True)
    assert publish(federation, **changes)["revision"] == 2
    assert publish(federation, classes=["zero", "one", "two"])["exit_code"] == 2
    notes = take(first).notes
    assert "revision 2 of the federation spec is in force here" in notes
    state = look(first)
    assert (state["spec"], state["unusable"]) == ({"revision": 2, "waiting": []}, {})
    assert len(state["admitted"]) == 2
    assert operator(federation)["site_revisions"] == {"hospital-1": 2, "hospital-2": 1}
    take(second)
    fitted = [agent_json(home, "fit") for home in homes]
    assert fitted[0]["classifier"] == fitted[1]["classifier"]
    assert fitted[0]["classes"] == ["zero", "one"]

    # Incompatible: waits for the admin; a module of before is refused by a code of its own.
    assert publish(federation, image={"size": 12, "channels": 1})["revision"] == 3
    notes = take(first).notes
    assert any("8 x 8, grey -> 12 x 12, grey" in text for text in notes)
    assert "it waits for a decision: ff-agent spec --accept 3" in notes
    assert look(first)["spec"] == {"revision": 2, "waiting": [3]}
    shown = agent_json(first, "spec")
    assert len(shown["unusable"]) == 2
    assert shown["retrain"] == ["zero"]
    assert agent_json(first, "fit")["already"]
    assert agent_json(first, "spec", "--accept", "3")["adopted"] == [3]
    state = look(first)
    assert len(state["unusable"]) == 2
    assert not state["classifier"]["up_to_date"]
    assert state["classifier"]["revision"] == 2
    assert agent(first, "fit").code == 7
    digits = federation.folder / "digits.npz"
    digits_npz(digits)
    measured = agent(first, "evaluate", "--data", digits)
    assert measured.code == 7
    assert "an earlier revision of the federation spec" in measured.err
    assert operator(federation)["site_revisions"] == dict.fromkeys(SITES, 2)
    foreign = next(item["digest"] for item in state["admitted"] if item["site"] == "hospital-2")
    remove_folder(Home(first).admitted(foreign))
    refused = take(first).refused
    reason = "made for images of 8 x 8, grey; the federation is at 12 x 12, grey (since revision 3)"
    assert refused == {foreign: reason}
    assert refusals(Home(first))[foreign].code == "image_shape"
    assert operator(federation)["site_revisions"] == {"hospital-1": 3, "hospital-2": 2}

    # Back at the old shape in a later revision: what was refused is judged anew and used again.
    assert publish(federation, image={"size": 8, "channels": 1})["revision"] == 4
    take(first)
    agent_json(first, "spec", "--accept", "4")
    assert take(first).admitted == [foreign]
    assert look(first)["unusable"] == {}

    # Whoever joins now gets the newest revision, and the ones before it with the statements.
    late = join(federation, "hospital-3")
    assert look(late)["spec"]["revision"] == 4
    assert len(take(late).admitted) == 2
    known = [path.stem for path in Home(late).spec_revisions.glob("*.dsse")]
    assert sorted(map(int, known)) == [1, 2, 3]
    assert take(late).notes == []

    back = agent(late, "upgrade", "--back")
    assert back.code == 7
    assert "nothing to go back to" in back.err
    back = agent(first, "upgrade", "--back")
    assert back.code == 7
    assert "later revision of the federation spec" in back.err


def take(home: Path) -> Received:
    """Receive, in this process."""
    return receive(open_site(Home(home)))


def look(home: Path) -> dict:
    """The state of a home."""
    return status(open_site(Home(home)))


def operator(federation: TestFederation) -> dict:
    """What the operator sees."""
    value = ff_coordinator("status", "--home", str(federation.home.root))
    assert value["store_format"] in (1, FORMAT)
    return value


def join(federation: TestFederation, name: str) -> Path:
    """Invite and join one more site."""
    invitation = federation.invite(name)
    home = federation.folder / name
    assert agent(home, "join", invitation).code == 0
    return home
