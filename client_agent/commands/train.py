"""`ff-agent train`."""

from typing import Any

from client_agent.commands.common import (
    Call,
    data_options,
    engine_options,
    plain,
    site_command,
    train_options,
)


@site_command("train")
@data_options
@train_options
@engine_options("classes")
def command(call: Call, **values: Any) -> None:
    """Train one generator per class on this site's images, and audit it.

    Each becomes a signed module in the home's outbox; nothing is sent. A tenth to a fifth of each
    class is kept aside: training stops when it begins to learn images by heart, and the audit
    measures what the module gives away. Interrupted, the same command goes on from the last
    checkpoint. Classes that have a module are left alone.

    \b
    ff-agent train --data /mnt/export            one folder per class, DICOM or PNG/JPEG/TIFF
    ff-agent train --data x.npz --classes a,b    MedMNIST-style file
    """
    from client_agent.commands.options import make_engine_options, make_train_options
    from client_agent.console import show_table
    from client_agent.steps.train import train

    site = call.site()
    with site.exclusive():
        options, where = make_train_options(values), make_engine_options(values)
        trained = train(site, options, call.console.progress, where)

    def lines() -> None:
        rows = [
            [module.class_name, module.digest[:12], f"{module.bytes / 1e6:.1f} MB"]
            for module in trained.modules
        ]
        if rows:
            show_table("modules in the outbox", ["class", "module", "size"], rows)
        for name, texts in trained.objections.items():
            for text in texts:
                print(f"{name}: WILL NOT BE SENT: {text}")
        for name, reason in trained.kept.items():
            print(f"{name}: {reason}")
        for identifier, reason in trained.skipped[:10]:
            print(f"skipped {identifier}: {reason}")
        if len(trained.skipped) > 10:
            print(f"... and {len(trained.skipped) - 10} more")
        print("next: ff-agent send")

    call.console.result(plain(trained), lines)
