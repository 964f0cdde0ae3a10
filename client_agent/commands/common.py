"""What every command shares: --home, --config, --json, --quiet, and how a command ends."""

import functools
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from client_agent.console import Console, execute
from client_agent.home import Home
from ff_protocol.command_line import shared_options

if TYPE_CHECKING:
    from client_agent.site import Site

Function = Callable[..., Any]


@dataclass(frozen=True)
class Call:
    """One invocation of a command: which home, and where to write."""

    home: Home
    console: Console

    def site(self) -> "Site":
        """Open the home."""
        from client_agent.site import open_site

        return open_site(self.home)


def site_command(name: str) -> Callable[[Function], click.Command]:
    """Make a click command of `function(call, **options)`; its docstring is the help."""

    def decorate(function: Function) -> click.Command:
        @click.pass_context
        @functools.wraps(function)
        def invoke(ctx: click.Context, **options: Any) -> None:
            home = Home.locate(options.pop("home"), options.pop("passphrase_file"))
            config = options.pop("config")
            if options.pop("no_color"):
                os.environ["NO_COLOR"] = "1"
            console = Console(as_json=options.pop("as_json"), quiet=options.pop("quiet"))
            call = Call(home, console)

            def work() -> int | None:
                _apply_config(ctx, options, config or home.config_file, required=bool(config))
                result: int | None = function(call, **options)
                return result

            ctx.exit(execute(work, console))

        command = click.command(name)(invoke)
        command.params += _options()
        return command

    return decorate


def _options() -> list[click.Parameter]:
    home, *rest = shared_options("This site's home [default: FF_HOME, else ~/.federated-factory].")
    config = click.Option(
        ["--config"],
        type=click.Path(path_type=Path),
        help="YAML file with defaults for the options [default: config.yaml in the home].",
    )
    no_color = click.Option(
        ["--no-color"], is_flag=True, help="No colour on the terminal (NO_COLOR does the same)."
    )
    return [home, config, *rest, no_color]


def _apply_config(
    ctx: click.Context, options: dict[str, Any], path: Path, *, required: bool
) -> None:
    """Fill options that were not given from the configuration file: a flag beats the file."""
    if not required and not path.is_file():
        return
    from client_agent.config import read_config

    values = read_config(path)
    for parameter in ctx.command.params:
        name = parameter.name or ""
        unset = ctx.get_parameter_source(name) in (None, ParameterSource.DEFAULT)
        if name in options and name in values and unset:
            value = values[name]
            text = [str(item) for item in value] if isinstance(value, list) else str(value)
            options[name] = parameter.type_cast_value(ctx, text)


def plain(value: Any) -> dict[str, Any]:
    """Turn a result dataclass into JSON values (paths become text)."""
    result: dict[str, Any] = _plain(asdict(value))
    return result


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "model_dump"):  # a part of a card or of a policy
        return value.model_dump(mode="json")
    return str(value) if isinstance(value, Path) else value


def given(option: str) -> bool:
    """Say whether an option stands on the command line: a default in config.yaml does not count."""
    source = click.get_current_context().get_parameter_source(option)
    return source is ParameterSource.COMMANDLINE


def needed(value: Any, option: str) -> Any:
    """Return an option's value, or explain that it must be given."""
    if value is None:
        from client_agent.errors import UsageError

        raise UsageError(
            f"{option} is missing",
            hint=f"give it on the command line, or set {option.lstrip('-').replace('-', '_')} "
            "in config.yaml",
        )
    return value


class _LocationType(click.ParamType):
    """A path, or `dicomweb:https://...`: see `sources.location`."""

    name = "path"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from client_agent.errors import UsageError
        from client_agent.sources.location import parse_location

        try:
            return parse_location(value) if isinstance(value, str) else value
        except UsageError as error:
            self.fail(f"{error.message} ({error.hint})", param, ctx)


LOCATION = _LocationType()
"""Type of `--data`."""


def data_options(function: Function) -> Function:
    """Add the options that say where images are, of which class, and how they are shown."""
    path = click.Path(path_type=Path)
    for option in (
        click.option(
            "--allow-burned-in", is_flag=True, help="Also images said to have text in the pixels."
        ),
        click.option(
            "--frame", help="Of multi-frame files: middle, first, all, or N [default: the spec's]."
        ),
        click.option(
            "--window", help="CT window: lung, bone, ... or CENTRE,WIDTH [default: the spec's]."
        ),
        click.option("--label-map", type=path, help="YAML file: this site's names of the classes."),
        click.option(
            "--label-tag", help="DICOM attribute that holds the label: BodyPartExamined, 0018,0015."
        ),
        click.option(
            "--split",
            type=click.Choice(["train", "val", "test"]),
            help="Which part of an .npz file, or of folders train, val and test.",
        ),
        click.option(
            "--labels",
            type=path,
            help="CSV: SOPInstanceUID (or SeriesInstanceUID, path ...), label, and PatientID.",
        ),
        click.option(
            "--data",
            type=LOCATION,
            help="DICOM tree or DICOMDIR, a folder per class of PNG/JPEG/TIFF, a MedMNIST-style "
            ".npz, or dicomweb:https://HOST/PATH.",
        ),
    ):
        function = option(function)
    return function


def train_options(function: Function) -> Function:
    """Add the options of training."""
    for option in (
        click.option(
            "--terms", help="Terms of use for the cards [default: within the federation only]."
        ),
        click.option(
            "--licence", help="For the cards: an SPDX expression [default: LicenseRef-federation]."
        ),
        click.option(
            "--dp-delta",
            type=click.FloatRange(0, 1, min_open=True, max_open=True),
            default=1e-5,
            show_default=True,
            help="Delta of the guarantee: less than 1 / images of a class.",
        ),
        click.option(
            "--dp-epsilon",
            type=click.FloatRange(0.01, 1000),
            help="Train with differential privacy: 1 is strong, above 10 weak. Goes with --steps.",
        ),
        click.option(
            "--no-audit",
            is_flag=True,
            help="Measure nothing; only where policy.yaml does not demand an audit.",
        ),
        click.option(
            "--retrain", is_flag=True, help="Also classes that have a module or were revoked."
        ),
        click.option(
            "--device",
            type=click.Choice(["auto", "cpu", "cuda"]),
            default="auto",
            show_default=True,
            help="Where to train.",
        ),
        click.option(
            "--threads", type=click.IntRange(1, 256), help="Compute threads [default: all cores]."
        ),
        click.option(
            "--seed",
            type=click.IntRange(0, 2**32 - 1),
            default=0,
            show_default=True,
            help="Of initialisation, order and noise.",
        ),
        click.option(
            "--steps", type=click.IntRange(1), help="Training steps a class instead of a time."
        ),
        click.option("--budget", help="Training time a class: 90s, 10m, 1h30m [default: preset]."),
        click.option(
            "--classes", help="Only these classes of PATH, separated by commas [default: all]."
        ),
    ):
        function = option(function)
    return function


def engine_options(*names: str) -> Callable[[Function], Function]:
    """Add the options that say where work is done, on whatever `names` says."""
    what = " and ".join(names)

    def decorate(function: Function) -> Function:
        for option in (
            click.option(
                "--ray-address",
                help="Head of a Ray cluster, HOST:PORT or auto [default: RAY_ADDRESS, else Ray is "
                "started on this machine].",
            ),
            click.option(
                "--workers",
                type=click.IntRange(1, 1024),
                help=f"{what.capitalize()} at a time [default: by processors or GPUs].",
            ),
            click.option(
                "--engine",
                type=click.Choice(["local", "ray"]),
                default="local",
                show_default=True,
                help="Where to work: processes of this machine, or a Ray cluster.",
            ),
        ):
            function = option(function)
        return function

    return decorate


def wait_options(function: Function) -> Function:
    """Add the options of waiting for others' modules."""
    for option in (
        click.option("--timeout", help="Stop waiting after this long: 30m, 24h [default: never]."),
        click.option(
            "--wait-for",
            type=click.Choice(["classes", "sites"]),
            default="classes",
            show_default=True,
            help="What --wait counts.",
        ),
        click.option(
            "--wait", type=click.IntRange(1), help="Wait until so many classes or sites are here."
        ),
    ):
        function = option(function)
    return function
