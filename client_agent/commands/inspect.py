"""`ff-agent inspect`."""

from typing import Any

import click

from client_agent.commands.common import Call, plain, site_command


@site_command("inspect")
@click.argument("module")
def command(call: Call, module: str) -> int:
    """Look closely at a module: card, audit figures, files, signature, structure.

    MODULE is a digest (8 digits or more), a class in this site's outbox, or a folder. Exits with 6
    if a rule does not hold.
    """
    from client_agent.commands.figures import show_figures
    from client_agent.steps.status import inspect
    from ff_protocol.errors import ExitCode

    found = inspect(call.site(), module)

    def lines() -> None:
        card = found.card
        generator, training = card["generator"], card["training"]
        print(f"module {found.digest}")
        print(f"class {card['class_name']} of {card['site_id']}, made {card['created_at']}")
        print(
            f"{generator['family']} {generator['preset']}, {generator['parameters']:,} parameters, "
            f"{generator['sampler']} in {generator['sampler_steps']} steps"
        )
        print(
            f"trained on {training['images']} images, {training['steps']} steps, "
            f"{training['seconds']} s on {training['device']}"
        )
        for name, size in found.files.items():
            print(f"  {name}: {size:,} bytes")
        show_figures(found.figures)
        if not found.figures:
            print("audit: none; what it gives away about its training images was not measured")
        for item in found.objections:
            print(f"{'waived' if item.waived else 'MAY NOT LEAVE'}: {item.text}")
        if card["waiver"] is not None:
            print(f"WAIVER for {', '.join(card['waiver']['figures'])}: {card['waiver']['reason']}")
        print(f"differential privacy: {_guarantee(card['differential_privacy'])}")
        print(f"licence: {card['licence']}")
        print(f"terms of use: {card['terms_of_use']}")
        print(f"PROBLEM: {found.problem}" if found.problem else "every rule holds")

    call.console.result(plain(found), lines)
    return ExitCode.REFUSED if found.problem else ExitCode.OK


def _guarantee(value: dict[str, Any] | None) -> str:
    if value is None:
        return "none"
    return (
        f"epsilon {value['epsilon']:.3g} at delta {value['delta']:.1g} ({value['accountant']}, "
        f"noise {value['noise_multiplier']:.3g}, clipping {value['max_grad_norm']:.3g}, "
        f"sample rate {value['sample_rate']:.3g}, {value['steps']} steps)"
    )
