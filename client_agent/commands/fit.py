"""`ff-agent fit`."""

from client_agent.commands.common import Call, plain, site_command


@site_command("fit")
def command(call: Call) -> None:
    """Train the classifier on synthetic images and put it into use.

    Synthesises first what is missing. The result, classifier/classifier.onnx, needs onnxruntime
    only; the same modules give the same file, byte for byte, at every site.
    """
    from client_agent.steps.fit import fit

    site = call.site()
    with site.exclusive():
        fitted = fit(site, call.console.progress)

    def lines() -> None:
        kept = " (kept: made from the same inputs)" if fitted.already else ""
        print(f"classifier {fitted.classifier[:16]}{kept}")
        print(f"knows {len(fitted.classes)} classes: {', '.join(fitted.classes)}")
        print(f"{fitted.samples} synthetic images, root {fitted.dataset_root[:16]}")
        if fitted.certificate:
            print(f"unlearning certificate: {fitted.certificate}")
        print("next: ff-agent evaluate, calibrate, predict or report --data PATH")

    call.console.result(plain(fitted), lines)
