"""`ff-agent verify-unlearning`."""

from pathlib import Path

import click

from client_agent.commands.common import Call, plain, site_command


@site_command("verify-unlearning")
@click.argument("certificate", type=click.Path(path_type=Path))
@click.option(
    "--exact", is_flag=True, help="Accept equal bits only, whatever machine this runs on."
)
def command(call: Call, certificate: Path, exact: bool) -> int:
    """Check an unlearning certificate by doing it again.

    Verifies the signature, rebuilds data set and classifier in a clean folder that never held the
    forgotten module, and compares every digest. CERTIFICATE is a file from
    certificates/unlearning/ of any site of the federation; the modules that are left must be here.
    Exits with 11 if the result differs. On a machine of another reproducibility class (versions,
    instruction set, threads) bits may differ: that is said, and outputs are compared to a stated
    tolerance; --exact refuses this.
    """
    from client_agent.steps.verify_unlearning import verify_unlearning
    from ff_protocol.errors import ExitCode

    site = call.site()
    with site.exclusive():
        found = verify_unlearning(site, certificate, call.console.progress)

    def lines() -> None:
        print(f"signed by {found.site} on {found.certified_at}")
        for module in found.modules:
            print(f"forgotten: {module}")
        for digest, known in found.statements.items():
            print(f"ordered by {digest[:16]}, {'known here' if known else 'not known here'}")
        for item in found.comparisons:
            print(f"{'equal    ' if item.equal else 'DIFFERENT'} {item.what}: {item.rebuilt[:16]}")
        print(f"reproducibility class: {_class(found.reproducibility)}")
        for key, (theirs, ours) in found.differences.items():
            print(f"  another class: {key} is {ours} here, the certificate says {theirs}")
        if found.outputs is not None and found.outcome != "identical":
            print(
                f"outputs: blocks within {found.outputs.block_levels} levels, probabilities "
                f"{found.outputs.probability:.4f} apart on average, same first choice for "
                f"{found.outputs.agreement:.0%}"
            )
        print(_MEANING[found.outcome])

    document = plain(found)
    document["comparisons"] = [
        {**entry, "equal": item.equal}
        for entry, item in zip(document["comparisons"], found.comparisons, strict=True)
    ]
    call.console.result(document, lines)
    accepted = found.outcome in ("identical", "nothing_to_rebuild") or (
        found.outcome == "within_tolerance" and not exact
    )
    return ExitCode.OK if accepted else ExitCode.MISMATCH


_MEANING = {
    "identical": "VERIFIED: bit-identical to never having had it",
    "within_tolerance": "NOT IDENTICAL, as expected on another kind of machine: the outputs agree "
    "within the documented tolerance. Verify on a machine of the same class for equal bits.",
    "different": "NOT VERIFIED: the result is not what the certificate says",
    "nothing_to_rebuild": "signature verified; there was no classifier left to rebuild",
}


def _class(reproducibility: dict[str, object]) -> str:
    return ", ".join(f"{key} {value}" for key, value in sorted(reproducibility.items()))
