"""`ff-agent train --dp-epsilon`: from the command to the signed card."""

import json

import pytest
from click.testing import CliRunner

from client_agent.cli import main
from client_agent.registry.modules import read_card
from client_agent.registry.training_images import training_images
from tests.homes import UNAUDITED


def call(site, digits, *options):
    arguments = ["train", "--home", str(site.home.root), "--data", str(digits), "--classes", "zero"]
    return CliRunner().invoke(main, [*arguments, "--threads", "1", "--json", *options])


@pytest.fixture
def site(authority, tmp_path):
    joined = authority.join(tmp_path / "hospital", "hospital-9")
    joined.home.policy_file.write_text(UNAUDITED)
    return joined


def test_the_signed_card_states_the_guarantee_that_was_asked_for(site, digits):
    target = ("--dp-epsilon", "8", "--dp-delta", "1e-4", "--steps", "2")
    result = call(site, digits, *target, "--no-audit")
    assert result.exit_code == 0, result.output
    card = read_card(site.home.outbox / "zero")
    guarantee = card.differential_privacy
    assert guarantee is not None
    assert 7.5 < guarantee.epsilon <= 8
    assert (guarantee.delta, guarantee.steps) == (1e-4, 2)
    assert card.training.final_loss is None
    (record,) = training_images(site.home)
    assert record.options["dp_epsilon"] == 8  # a withdrawal trains the successor the same way


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--budget", "10s"], "number of steps"),
        (["--steps", "2", "--dp-delta", "0.5"], "protects nobody"),
    ],
)
def test_a_guarantee_that_cannot_be_given_is_refused_before_training(
    site, digits, options, expected
):
    result = call(site, digits, "--dp-epsilon", "8", *options)
    assert result.exit_code == 2
    assert expected in json.loads(result.stdout)["message"]
    assert not site.home.outbox.exists()
