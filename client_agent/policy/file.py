"""`policy.yaml` in a site's home: the site's own rules, which nobody else can override."""

from typing import Literal

from client_agent.home import Home
from client_agent.policy.admission import AdmissionPolicy
from client_agent.policy.release import ReleasePolicy
from ff_protocol.errors import MalformedError, SpecError
from ff_protocol.files import read_bounded
from ff_protocol.limits import MAX_SPEC_BYTES
from ff_protocol.schema import Strict, load_yaml, parse
from ff_protocol.selection import Selection
from ff_protocol.spec import FederationSpec


class FederationPolicy(Strict):
    """Section `federation` of `policy.yaml`.

    Attributes:
        accept_spec: which revisions of the federation spec are adopted without asking: `additive`
            ones (a class more, a limit raised), `always`, or `never`. The others wait for
            `ff-agent spec --accept`.
    """

    accept_spec: Literal["additive", "always", "never"] = "additive"


class SitePolicy(Strict):
    """The whole file; a missing file or section means the defaults, which are the strict ones.

    Without `selection` the federation's rule holds, and if it has none, every module takes part.
    """

    admission: AdmissionPolicy = AdmissionPolicy()
    release: ReleasePolicy = ReleasePolicy()
    selection: Selection | None = None
    federation: FederationPolicy = FederationPolicy()


def read_policy(home: Home) -> SitePolicy:
    """Read the site's policy.

    Raises:
        SpecError: unreadable, not YAML, or a key or value that does not belong.
    """
    path = home.policy_file
    if not path.exists():
        return SitePolicy()
    try:
        text = read_bounded(path, MAX_SPEC_BYTES, "policy").decode("utf-8")
    except (OSError, UnicodeDecodeError, MalformedError) as error:
        raise SpecError(f"cannot read policy {path}: {error}") from error
    value = load_yaml(text, path.name)
    return parse(SitePolicy, {} if value is None else value, path.name)


def selection_in_force(home: Home, spec: FederationSpec) -> Selection | None:
    """Return the rule that chooses among modules: the site's, else the federation's, if any.

    Raises:
        SpecError: `policy.yaml` is not one.
    """
    return read_policy(home).selection or spec.selection
