"""The reference of every configuration file, from the schemas that read them."""

import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from types import UnionType
from typing import Any

import click
from pydantic import BaseModel, RootModel

from client_agent.cli import main as agent
from client_agent.config import AgentConfig
from client_agent.policy.file import SitePolicy
from client_agent.site import SiteFile
from client_agent.sources.label_map import LabelMapFile
from coordinator.home import Settings
from docs.builder.tables import table
from ff_protocol.limits import MIB
from ff_protocol.spec import FederationSpec

_HEADING = ("key", "value", "default", "meaning")
_KINDS = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
}


@dataclass(frozen=True)
class ConfigurationFile:
    """One file that people write.

    Attributes:
        name: as people call it.
        schema: what reads it.
        about: where it lies and who writes it, Markdown.
    """

    name: str
    schema: type[BaseModel]
    about: str


FILES = (
    ConfigurationFile(
        "The federation spec",
        FederationSpec,
        "What all sites agree on. The operator writes it before `ff-coordinator init --spec FILE`, "
        "which signs it. "
        "[Example](../../configs/spec.example.yaml).",
    ),
    ConfigurationFile(
        "config.yaml",
        AgentConfig,
        "In a site's home, or given with `--config`: defaults for the options of `ff-agent`. Each "
        "key is named like its option, and a flag beats the file. "
        "[Example](../../configs/agent.example.yaml).",
    ),
    ConfigurationFile(
        "policy.yaml",
        SitePolicy,
        "In a site's home: what this site demands of its own modules before they leave and of "
        "others' before they enter. Nobody else can override it. NAME stands for a figure of "
        "[the audit](../audit.md). "
        "[Example](../../configs/policy.example.yaml).",
    ),
    ConfigurationFile(
        "Label map",
        LabelMapFile,
        "A site's own names of the classes, given with `--label-map`. NAME stands for a class of "
        "the federation. "
        "[Example](../../configs/label-map.example.yaml).",
    ),
    ConfigurationFile(
        "site.yaml",
        SiteFile,
        "In a site's home, written by `ff-agent join`. Edit the way to the coordinator "
        "(`endpoint`, `server_name`, `proxy`, `patience_seconds`) and nothing else.",
    ),
    ConfigurationFile(
        "coordinator.yaml",
        Settings,
        "In the operator's home, written by `ff-coordinator init`.",
    ),
)

ENVIRONMENT = {
    "FF_HOME": "a site's home, where `--home` is not given",
    "FF_COORDINATOR_HOME": "the operator's home, where `--home` is not given",
    "FF_PASSPHRASE": "of the private keys, where `--passphrase-file` is not given",
    "FF_NEW_PASSPHRASE": "the new one, for the `passphrase` commands",
    "FF_DICOMWEB_TOKEN": "bearer token for a DICOMweb server; or its file in "
    "`FF_DICOMWEB_TOKEN_FILE`",
    "FF_DICOMWEB_USER": "name for a DICOMweb server",
    "FF_DICOMWEB_PASSWORD": "its password; or its file in `FF_DICOMWEB_PASSWORD_FILE`",
    "FF_DICOMWEB_CA": "certificates (PEM) that sign the DICOMweb server's",
    "NO_COLOR": "anything: no colour on the terminal",
    "XDG_CACHE_HOME": "where `scan` keeps its index outside a home",
}
"""Variables that people set, and what for."""


def configuration_page() -> str:
    """Return the page.

    Raises:
        ValueError: a schema does not say what one of its keys means.
    """
    parts = [
        "# Configuration",
        "Every key of every file. Made from the schemas that read them: "
        "`python -m docs.builder --references`. Files are YAML of at most 256 KiB (a label map: "
        "4 MiB), without aliases; a key that is not listed here is refused, exit code 10.",
    ]
    for file in FILES:
        meanings = _of_options() if file.schema is AgentConfig else {}
        rows = list(_rows(file.schema, meanings))
        parts += [f"## {file.name}", file.about, table(_HEADING, rows)]
    names = [(f"`{name}`", meaning) for name, meaning in ENVIRONMENT.items()]
    parts += ["## Environment", table(("variable", "meaning"), names)]
    parts.append(
        "Object stores take their credentials from the variables of Amazon's tools: "
        "[where the state is](../operations.md#where-the-state-is). Variables for proxies are "
        "never followed."
    )
    return "\n\n".join(parts) + "\n"


def _rows(
    model: type[BaseModel], given: dict[str, tuple[str, str]], prefix: str = ""
) -> Iterator[tuple[str, str, str, str]]:
    meanings = _attributes(model)
    schema = model.model_json_schema()
    for name, field in model.model_fields.items():
        key = f"{prefix}{field.alias or name}"
        inner, many = _nested(field.annotation)
        if inner is not None:
            yield from _rows(inner, {}, f"{key}.NAME." if many else f"{key}.")
            continue
        meaning, default = given.get(name, (meanings.get(name, ""), ""))
        if not meaning:
            raise ValueError(f"{model.__name__} does not say what {name} means")
        value = _resolved(schema["properties"][field.alias or name], schema)
        unit = MIB if name.endswith("_bytes") else 1
        kind = ", ".join(filter(None, (_kind(value), _bounds(value, unit))))
        shown = "required" if field.is_required() else default or _default(field.default, unit)
        meaning = re.sub(r"\bNone\b", "none", meaning).rstrip(".")
        yield f"`{key}`", kind, shown, meaning[0].upper() + meaning[1:]


def _nested(annotation: Any) -> tuple[type[BaseModel] | None, bool]:
    """Return the schema inside an annotation, and whether it stands for each of many names."""
    if isinstance(annotation, type) and issubclass(annotation, RootModel):
        return _nested(annotation.model_fields["root"].annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, False
    optional = isinstance(annotation, UnionType)
    for part in getattr(annotation, "__args__", ()):
        inner, many = _nested(part)
        if inner is not None:
            return inner, many or not optional
    return None, False


def _attributes(model: type[BaseModel]) -> dict[str, str]:
    """Read the section `Attributes` of a docstring; `low, high: text` is said of both.

    What a docstring leaves out, that of the schema it inherits from may say.
    """
    text = inspect.getdoc(model) or ""
    above = model.__base__
    found: dict[str, str] = {}
    if above is not None and issubclass(above, BaseModel) and above is not BaseModel:
        found |= _attributes(above)
    section = re.search(r"^Attributes:\n((?:(?: {4}.*)?\n?)*)", text, flags=re.MULTILINE)
    for entry in re.split(r"\n(?= {4}\w)", section[1] if section else ""):
        names, _, meaning = entry.strip().partition(":")
        each = names.split(", ")
        about = f"{', '.join(f'`{name}`' for name in each)}: " if len(each) > 1 else ""
        found.update(dict.fromkeys(each, about + " ".join(meaning.split())))
    return found


def _of_options() -> dict[str, tuple[str, str]]:
    """Return of every option of the agent what it means and its default, by its name."""
    found: dict[str, tuple[str, str]] = {}
    context = click.Context(agent)
    for command in (agent.get_command(context, name) for name in agent.list_commands(context)):
        assert command is not None
        for option in command.params:
            if isinstance(option, click.Option) and option.name not in found:
                text, _, default = (option.help or "").partition("[default:")
                default = default.strip(" ].")
                if option.show_default and option.default is not None:
                    default = f"`{option.default}`"
                found[str(option.name)] = (text.strip(), default)
    return found


def _resolved(value: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """Follow a reference, and take the null out of a choice."""
    if "$ref" in value:
        return _resolved(schema["$defs"][value["$ref"].rpartition("/")[2]], schema)
    choices = [item for item in value.get("anyOf", ()) if item.get("type") != "null"]
    if len(choices) == 1:
        return _resolved(choices[0], schema)
    return {"type": [item["type"] for item in choices]} if choices else value


def _kind(value: dict[str, Any]) -> str:
    if "const" in value:
        return f"`{value['const']}`"
    if "enum" in value:
        return " or ".join(f"`{item}`" for item in value["enum"])
    if value.get("type") == "array":
        return f"list of {_kind(value.get('items', {'type': 'string'}))}"
    kinds = value["type"] if isinstance(value["type"], list) else [value["type"]]
    return " or ".join(_KINDS[kind] for kind in kinds)


def _bounds(value: dict[str, Any], unit: int) -> str:
    low, high = value.get("minimum"), value.get("maximum")
    if value.get("type") == "integer" and "exclusiveMaximum" in value:
        high = value["exclusiveMaximum"] - 1
    if low is not None and high is not None:
        return f"{_number(low, unit)} to {_number(high, unit)}"
    parts = []
    for word, limit in (
        ("at least", low),
        ("at most", high),
        ("above", value.get("exclusiveMinimum")),
        ("below", value.get("exclusiveMaximum")),
    ):
        if limit is not None:
            parts.append(f"{word} {_number(limit, unit)}")
    if "maxLength" in value:
        parts.append(f"at most {value['maxLength']:,} characters")
    if "minItems" in value:
        most = f" to {value['maxItems']:,}" if "maxItems" in value else " or more"
        parts.append(f"{value['minItems']}{most}")
    return ", ".join(parts)


def _number(value: float, unit: int) -> str:
    if unit > 1 and value >= unit:
        return f"{value / MIB:,.0f} MiB"
    return f"{value:,.15g}"


def _default(value: Any, unit: int) -> str:
    if value in (None, ()):
        return "none"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple):
        return f"`[{', '.join(map(str, value))}]`"
    remark = f" ({_number(value, unit)})" if unit > 1 else ""
    return f"`{value}`{remark}"
