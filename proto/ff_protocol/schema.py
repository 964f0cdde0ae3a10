"""One way to check documents against a schema: an error names key, value and expectation."""

from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from ff_protocol.errors import SpecError

Model = TypeVar("Model", bound=BaseModel)


class Strict(BaseModel):
    """Base of every schema: unknown keys are refused, values are immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def parse(model: type[Model], value: Any, where: str) -> Model:
    """Validate `value` (from YAML or JSON) as `model`.

    Args:
        model: the schema.
        value: parsed YAML or JSON.
        where: what is being read, for the message (a file name or "the federation spec").

    Raises:
        SpecError: naming each wrong key, its value, and what was expected (first five).
    """
    if not isinstance(value, dict):
        raise SpecError(f"{where}: expected keys and values, got {type(value).__name__}")
    try:
        return model.model_validate(value)
    except ValidationError as error:
        lines = [_line(item) for item in error.errors()[:5]]
        raise SpecError(f"{where}: " + "; ".join(lines)) from error


def load_yaml(text: str, where: str) -> Any:
    """Parse YAML with the safe loader.

    Raises:
        SpecError: naming the line that does not parse.
    """
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "not valid YAML"
        raise SpecError(f"{where}: {problem}{place}") from error


def _line(item: Any) -> str:
    key = ".".join(str(part) for part in item["loc"]) or "(document)"
    if item["type"] == "extra_forbidden":
        return f"unknown key '{key}'"
    if item["type"] == "missing":
        return f"key '{key}' is missing"
    value = repr(item.get("input"))
    return f"key '{key}' is {value[:80]}: {item['msg'][0].lower()}{item['msg'][1:]}"
