"""`ff-agent fit`."""

from typing import Any

from client_agent.commands.common import Call, engine_options, plain, site_command


@site_command("fit")
@engine_options("modules")
def command(call: Call, **values: Any) -> None:
    """Train the classifier on synthetic images and put it into use.

    Synthesises first what is missing. The result, classifier/classifier.onnx, needs onnxruntime
    only; the same modules give the same file, byte for byte, at every site.
    """
    from client_agent.commands.options import make_engine_options
    from client_agent.steps.fit import fit

    site = call.site()
    with site.exclusive():
        fitted = fit(site, call.console.progress, make_engine_options(values))

    def lines() -> None:
        kept = " (kept: made from the same inputs)" if fitted.already else ""
        print(f"classifier {fitted.classifier[:16]}{kept}")
        print(f"knows {len(fitted.classes)} classes: {', '.join(fitted.classes)}")
        print(f"{fitted.samples} synthetic images, root {fitted.dataset_root[:16]}")
        if fitted.certificate:
            print(f"unlearning certificate: {fitted.certificate}")
        print("next: ff-agent evaluate, calibrate, predict or report --data PATH")

    call.console.result(plain(fitted), lines)
