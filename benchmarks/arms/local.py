"""What a site reaches alone, and the product of experts of classifiers that sites trained alone."""

from benchmarks.arms.classifiers import (
    predictor_of,
    product,
    train_all_outputs,
    train_classifier,
)
from benchmarks.recovery.task import Learnt, Task
from client_agent.demo.averaging import state_bytes


def own(task: Task) -> Learnt:
    """Train each site on its own images; the figures are the mean over the sites."""
    seconds = task.seconds / len(task.sites)
    alone = [train_classifier(task, site, seconds) for site in task.sites]
    return Learnt(tuple(classifier.predictor(task) for classifier in alone))


def poe_local(task: Task) -> Learnt:
    """Let every site train all outputs on its own images, send the classifier once, multiply.

    The one-shot rival without generators. An expert that has seen one class only has learnt to
    say that class; what is left of it in the product is how sure it is.
    """
    seconds = task.seconds / len(task.sites)
    networks = [
        train_all_outputs(task, site, seconds, stream=number)
        for number, site in enumerate(task.sites)
    ]
    labels = range(len(task.classes))
    experts = [predictor_of(network, task.settings, labels, len(labels)) for network in networks]
    return Learnt(
        (product(experts),),
        bytes_per_site=sum(state_bytes(network) for network in networks),
        rounds=1,
    )
