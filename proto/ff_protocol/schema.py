"""One way to check documents against a schema: an error names key, value and expectation."""

import re
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from ff_protocol.errors import SpecError

MAX_YAML_DEPTH = 64
_DASHES = re.compile(r"(?:[-?:][ \t]+)+")

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
    """Parse YAML with the safe loader, without aliases: a few lines of them stand for gigabytes.

    Raises:
        SpecError: naming the line that does not parse, or nested deeper than `MAX_YAML_DEPTH`.
    """
    import yaml

    class Loader(yaml.SafeLoader):
        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.AliasEvent):
                mark = self.peek_event().start_mark
                raise yaml.composer.ComposerError(None, None, "aliases are not accepted", mark)
            return super().compose_node(parent, index)

    # The parser's time grows with the square of the depth, long before it gives up.
    if _depth(text) > MAX_YAML_DEPTH:
        raise SpecError(f"{where}: nested deeper than {MAX_YAML_DEPTH}")
    try:
        return yaml.load(text, Loader)  # noqa: S506  (a SafeLoader)
    except (ValueError, RecursionError) as error:  # a date that is none, for example
        raise SpecError(f"{where}: not valid YAML ({str(error)[:80]})") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "not valid YAML"
        raise SpecError(f"{where}: {problem}{place}") from error


def _depth(text: str) -> int:
    """Upper bound of the nesting depth by brackets, and by dashes on one line."""
    depth = deepest = 0
    for character in text:
        if character in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif character in "]}":
            depth = max(0, depth - 1)
    dashes = (len(match[0]) // 2 for match in _DASHES.finditer(text))
    return max(deepest, max(dashes, default=0))


def _line(item: Any) -> str:
    key = ".".join(str(part) for part in item["loc"]) or "(document)"
    if item["type"] == "extra_forbidden":
        return f"unknown key '{key}'"
    if item["type"] == "missing":
        return f"key '{key}' is missing"
    value = repr(item.get("input"))
    return f"key '{key}' is {value[:80]}: {item['msg'][0].lower()}{item['msg'][1:]}"
