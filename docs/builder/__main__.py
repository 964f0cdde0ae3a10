"""`python -m docs.builder`: the site, or with `--references` the pages made from the code."""

import subprocess
import sys
from pathlib import Path

import click

from docs.builder import references
from docs.builder.offline import foreign_resources
from docs.builder.staging import StagingError, stage

ROOT = Path(__file__).resolve().parents[2]
STAGED = ROOT / "build" / "docs"
SITE = ROOT / "site"


@click.command()
@click.option("--references", "only_references", is_flag=True, help="Write docs/reference/ only.")
def main(only_references: bool) -> None:
    """Build site/ from docs/: a broken link, or a page that asks the network, is an error."""
    if only_references:
        for path in references.write(ROOT):
            click.echo(path.relative_to(ROOT))
        return
    stale = [page.name for page in references.stale(ROOT)]
    if stale:
        raise click.ClickException(
            f"docs/reference/: {', '.join(stale)} are not what the code says; "
            "run: python -m docs.builder --references"
        )
    try:
        stage(ROOT, STAGED)
    except StagingError as error:
        raise click.ClickException(str(error)) from error
    build = ["zensical", "build", "--strict", "--clean", "--config-file", "mkdocs.yml"]
    done = subprocess.run([sys.executable, "-m", *build], cwd=ROOT)
    if done.returncode:
        sys.exit(done.returncode)
    foreign = foreign_resources(SITE)
    if foreign:
        raise click.ClickException("the site would ask the network: " + "; ".join(foreign))
    click.echo(f"read it: {SITE / 'index.html'}")


if __name__ == "__main__":
    main()
