"""The amount of work follows from the number of images; a preset is found by name."""

import subprocess
import sys
from dataclasses import asdict

import pytest

from client_agent.classifier.settings import PRESETS, RECIPE, ClassifierSettings, settings_for
from client_agent.errors import UsageError
from ff_protocol import canonical
from ff_protocol.spec import ClassifierSpec


def test_every_preset_is_found_by_its_own_name():
    for name, preset in PRESETS.items():
        assert preset.preset == name
        found = settings_for(ClassifierSpec(preset=name, epochs=3, seed=5, threads=1))
        assert (found.epochs, found.seed, found.threads) == (3, 5, 1)
        assert found.widths == preset.widths


def test_an_unknown_preset_is_named():
    with pytest.raises(UsageError, match="enormous") as caught:
        settings_for(ClassifierSpec(preset="enormous"))
    assert "small" in caught.value.hint


@pytest.mark.parametrize("images", [2, 10, 64, 1_000, 12_000, 100_000, 1_000_000, 50_000_000])
def test_work_is_bounded_for_any_set(images):
    settings = ClassifierSettings()
    epochs = settings.epochs_for(images)
    steps = epochs * settings.steps_per_epoch(images)
    assert 1 <= epochs <= settings.max_epochs
    assert steps <= max(settings.max_steps, settings.steps_per_epoch(images))


def test_given_epochs_are_kept():
    assert ClassifierSettings(epochs=7).epochs_for(10) == 7
    assert ClassifierSettings(epochs=7).epochs_for(10_000_000) == 7


def test_settings_do_not_load_torch():
    code = "import client_agent.classifier.settings, sys; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_whoever_changes_a_number_raises_the_recipe():
    """Else a site keeps a classifier of before, and no certificate tells why bits differ."""
    table = {name: asdict(preset) for name, preset in PRESETS.items()}
    digest = canonical.sha256_hex(repr(table).encode())[:16]
    assert (RECIPE, digest) == (3, "91e1894a93ccd492")
