"""The modules that the classifier in use was made from, while they are here."""

from typing import TYPE_CHECKING

from client_agent.errors import NotReadyError
from client_agent.registry.modules import AdmittedModule, usable_modules
from client_agent.site import Site

if TYPE_CHECKING:
    from client_agent.classifier.prediction import ClassifierFile


def modules_of(site: Site, classifier: "ClassifierFile") -> tuple[AdmittedModule, ...]:
    """Return them ordered by digest.

    Raises:
        NotReadyError: other modules are here than the classifier was made from.
    """
    made_from = {module["digest"] for module in classifier.provenance.get("modules", ())}
    modules = usable_modules(site.home, site.spec)
    if {module.digest for module in modules} != made_from:
        raise NotReadyError(
            "the classifier in use was made from other modules than are admitted now",
            hint="run: ff-agent fit",
        )
    return modules
