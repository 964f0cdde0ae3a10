"""What a foreign module must fulfil at this site, beyond the federation's own rules."""

from typing import Literal

from pydantic import Field, field_validator, model_validator

from ff_protocol.card import Card, Figure, FigureName
from ff_protocol.errors import MalformedError
from ff_protocol.names import check_site_id
from ff_protocol.schema import Strict
from ff_protocol.spec import FederationSpec


class AdmissionLimits(Strict):
    """Bounds that may only be tighter than the federation's; None leaves the federation's.

    Attributes:
        max_module_bytes: of `module.onnx`; larger ones are refused before a byte is fetched.
        max_parameters: weights.
        max_operators: nodes of the graph and of the loop in it.
        max_sampler_steps: turns of that loop.
    """

    max_module_bytes: int | None = Field(default=None, ge=1024)
    max_parameters: int | None = Field(default=None, ge=1)
    max_operators: int | None = Field(default=None, ge=1)
    max_sampler_steps: int | None = Field(default=None, ge=1)

    def tighten(self, spec: FederationSpec) -> FederationSpec:
        """Return the spec with the smaller of both bounds each."""
        names = ("max_module_bytes", "max_parameters", "max_sampler_steps")
        given = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        smaller = {name: min(value, getattr(spec.policy, name)) for name, value in given.items()}
        policy = spec.policy.model_copy(update=smaller)
        return spec.model_copy(update={"policy": policy})


class FigureBounds(Strict):
    """What a figure of a card must lie between; the bounds themselves are accepted.

    Attributes:
        min, max: the least and the most that it may be; at least one of them.
    """

    min: float | None = Field(default=None, allow_inf_nan=False)
    max: float | None = Field(default=None, allow_inf_nan=False)

    @model_validator(mode="after")
    def _some_bound(self) -> "FigureBounds":
        if self.min is None and self.max is None:
            raise ValueError("give min, max or both")
        return self

    def broken_by(self, figure: Figure) -> str | None:
        """Say how a figure breaks them, None if it does not."""
        if self.max is not None and figure.value > self.max:
            return f"is {figure.value:.4g}, at most {self.max:.4g} is accepted"
        if self.min is not None and figure.value < self.min:
            return f"is {figure.value:.4g}, at least {self.min:.4g} is demanded"
        return None


class AdmissionPolicy(Strict):
    """Section `admission` of `policy.yaml`.

    Attributes:
        mode: `automatic` admits what breaks no rule; `manual` has it wait for the admin, unless it
            is of a trusted site.
        limits: tighter bounds than the federation's.
        require_figures: figures of the audit that a card must state, and their bounds.
        accept_waivers: let a demanded figure fail if the card's waiver names it.
        trusted_sites: admitted without asking; `ff-agent trust` keeps a list beside this one.
        refused_sites: nothing of theirs is fetched.
        require_sandbox_layers: layers that must confine a module here, or none is tried out.
        compare_samples: images of a module that are compared with those of other modules; 0
            compares none, so that no module is called suspicious.
        on_poison: what follows from a module's being suspicious: `flag` notes it, `hold` has the
            module wait for the admin whatever the mode, `refuse` refuses it.
    """

    mode: Literal["automatic", "manual"] = "automatic"
    limits: AdmissionLimits = AdmissionLimits()
    require_figures: dict[FigureName, FigureBounds] = Field(default_factory=dict)
    accept_waivers: bool = False
    trusted_sites: tuple[str, ...] = ()
    refused_sites: tuple[str, ...] = ()
    require_sandbox_layers: tuple[Literal["limits", "namespaces", "landlock", "seccomp"], ...] = ()
    compare_samples: int = Field(default=128, ge=0, le=1024)
    on_poison: Literal["flag", "hold", "refuse"] = "flag"

    @field_validator("trusted_sites", "refused_sites")
    @classmethod
    def _site_names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        try:
            return tuple(check_site_id(name) for name in value)
        except MalformedError as error:
            raise ValueError(error.message) from error

    @model_validator(mode="after")
    def _trusted_or_refused(self) -> "AdmissionPolicy":
        both = sorted(set(self.trusted_sites) & set(self.refused_sites))
        if both:
            raise ValueError(f"{', '.join(both)} cannot be both trusted and refused")
        return self

    def missing_figure(self, card: Card) -> str | None:
        """Say which demanded figure a card does not fulfil and why, None if it fulfils all."""
        waived = card.waiver.figures if card.waiver is not None and self.accept_waivers else ()
        for name, bounds in self.require_figures.items():
            stated = [part[name] for part in (card.memorisation, card.fidelity) if name in part]
            broken = [problem for figure in stated if (problem := bounds.broken_by(figure))]
            problem = broken[0] if broken else None if stated else "is not stated"
            if problem is not None and name not in waived:
                remark = ""
                if card.waiver is not None and name in card.waiver.figures:
                    remark = "; its waiver is not accepted here"
                return f"{name} {problem}{remark}"
        return None

    def decision(
        self, site_id: str, *, trusted: frozenset[str], suspicious: bool
    ) -> Literal["admit", "wait"]:
        """Decide on a module that breaks no rule.

        Args:
            site_id: who made it.
            trusted: sites that the admin trusts by command.
            suspicious: whether the comparison of its samples has flagged it.
        """
        if suspicious and self.on_poison == "hold":
            return "wait"
        if self.mode == "automatic" or site_id in trusted or site_id in self.trusted_sites:
            return "admit"
        return "wait"
