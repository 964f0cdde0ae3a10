"""The federation spec: what all sites agree on, signed by the authority.

Everything that must be equal at every site for the data set and the classifier to come out
bit-identical is here and nowhere else.
"""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from ff_protocol import canonical
from ff_protocol.errors import MalformedError, SpecError
from ff_protocol.files import read_bounded
from ff_protocol.limits import MAX_SPEC_BYTES, MIB
from ff_protocol.names import check_class_name
from ff_protocol.preparation import FrameRule, Window, parse_frame, parse_window
from ff_protocol.schema import Strict, load_yaml, parse
from ff_protocol.selection import SharedSelection


class ImageSpec(Strict):
    """Shape of every image in the federation: `size` x `size` pixels, `channels` channels.

    Attributes:
        size: height and width in pixels; every image is prepared to it.
        channels: 1 grey, 3 colour.
    """

    size: int = Field(ge=8, le=256)
    channels: Literal[1, 3]


class PreparationSpec(Strict):
    """How files become images, where DICOM leaves a choice: the same at every site.

    A window that one site alone uses would tell the classifier the site, and with it the class.

    Attributes:
        window: a named CT window or CENTRE,WIDTH; None takes what each file says.
        frame: which frames of a multi-frame file: middle, first, all, or a number from 1.
    """

    window: str | None = None
    frame: str = "middle"

    @field_validator("window", "frame", mode="before")
    @classmethod
    def _known(cls, value: Any, info: ValidationInfo) -> Any:
        if value is None or isinstance(value, bool):
            return value
        parser = parse_window if info.field_name == "window" else parse_frame
        try:
            return str(parser(str(value)))  # YAML reads `frame: 3` as a number
        except MalformedError as error:
            raise ValueError(f"{error.message} ({error.hint})") from error

    @property
    def window_rule(self) -> Window | None:
        """The window, parsed."""
        return None if self.window is None else parse_window(self.window)

    @property
    def frame_rule(self) -> FrameRule:
        """The frame rule, parsed."""
        return parse_frame(self.frame)


class SynthesisSpec(Strict):
    """How modules are sampled; part of every sample's identity.

    Attributes:
        samples_per_class: images per class in the training set, over all modules of the class.
        batch_size: fixed inference batch: the floating-point result may depend on it.
        threads: batches computed side by side, a thread each; changes no bit of the result.
    """

    samples_per_class: int = Field(default=1000, ge=1, le=1_000_000)
    batch_size: int = Field(default=32, ge=1, le=1024)
    threads: int = Field(default=2, ge=1, le=64)


class ClassifierSpec(Strict):
    """How the classifier is trained: the same everywhere, so that its bytes are the same.

    Attributes:
        preset: architecture and recipe (see client_agent/classifier).
        epochs: passes over the training set; None takes the preset's rule.
        seed: initialisation, order and augmentation.
        threads: compute threads, fixed whatever the machine has.
    """

    preset: str = "small"
    epochs: int | None = Field(default=None, ge=1, le=10_000)
    seed: int = Field(default=0, ge=0, lt=2**32)
    threads: int = Field(default=2, ge=1, le=64)


class PolicySpec(Strict):
    """What a site demands of a foreign module before admitting it.

    Attributes:
        max_module_bytes: larger modules are refused before a byte is fetched.
        max_parameters: bound on the number of weights in `module.onnx`.
        max_sampler_steps: bound on the trip count of the sampler's loop.
        heads_valid_hours: how long a site's signed heads stand for the present.
        stale_heads: whether a classifier may be fitted with modules of sites whose heads have
            expired (`warn`) or not (`refuse`).
    """

    max_module_bytes: int = Field(default=64 * MIB, ge=1024, le=8192 * MIB)
    max_parameters: int = Field(default=64_000_000, ge=1)
    max_sampler_steps: int = Field(default=256, ge=1, le=10_000)
    heads_valid_hours: int = Field(default=168, ge=1, le=2208)
    stale_heads: Literal["warn", "refuse"] = "warn"


class FederationSpec(Strict):
    """The whole spec; see the comments in configs/*.yaml for an example of each key.

    `selection` is left out of what is signed where there is none, so that specs of before it stay
    the same bytes.

    Attributes:
        version: of this format.
        classes: what the classifier tells apart, in this order; letters, digits, space and
            . _ + - of at most 64 characters, different by more than case.
        preset: recipe of the generators: tiny, small or large (client_agent/generator/presets.py).
    """

    version: Literal[1] = 1
    classes: tuple[str, ...] = Field(min_length=2, max_length=1000)
    image: ImageSpec
    preparation: PreparationSpec = PreparationSpec()
    preset: str = "tiny"
    synthesis: SynthesisSpec = SynthesisSpec()
    classifier: ClassifierSpec = ClassifierSpec()
    policy: PolicySpec = PolicySpec()
    selection: SharedSelection | None = Field(default=None, exclude_if=lambda rule: rule is None)

    @field_validator("classes")
    @classmethod
    def _distinct_names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            try:
                check_class_name(name)
            except MalformedError as error:
                raise ValueError(error.message) from error
        if len({name.casefold() for name in value}) != len(value):
            raise ValueError("class names must differ by more than case")
        return value

    def class_index(self, name: str) -> int:
        """Return the position of a class in the spec's order.

        Raises:
            SpecError: the federation has no such class.
        """
        if name not in self.classes:
            raise SpecError(
                f"class {name[:80]!r} is not in this federation",
                hint=f"its classes are {', '.join(self.classes)}",
            )
        return self.classes.index(name)

    def synthesis_digest(self, federation_id: str) -> str:
        """Return the SHA-256 that names everything besides the module that a sample depends on."""
        return canonical.sha256_hex(
            canonical.dumps(
                {
                    "batch_size": self.synthesis.batch_size,
                    "federation": federation_id,
                    "image": self.image.model_dump(),
                    "threads": self.synthesis.threads,
                    "format": "ff-synthesis/1",
                }
            )
        )


def parse_spec(value: Any, where: str = "the federation spec") -> FederationSpec:
    """Validate a parsed spec.

    Raises:
        SpecError: naming key, value and what was expected.
    """
    return parse(FederationSpec, value, where)


def read_spec(path: Path) -> FederationSpec:
    """Read and validate a YAML spec file.

    Raises:
        SpecError: the file is missing, too large, not YAML, or breaks the schema.
    """
    try:
        text = read_bounded(path, MAX_SPEC_BYTES, "spec").decode("utf-8")
    except (OSError, UnicodeDecodeError, MalformedError) as error:
        raise SpecError(f"cannot read spec {path}: {error}") from error
    return parse_spec(load_yaml(text, path.name), path.name)
