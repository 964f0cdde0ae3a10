"""Make the synthetic training set on site from the admitted modules."""

from dataclasses import dataclass

from client_agent.engines.engine import LOCAL, EngineOptions
from client_agent.engines.opening import synthesis_engine
from client_agent.errors import NotReadyError
from client_agent.progress import SILENT, Progress
from client_agent.registry.modules import admitted_modules
from client_agent.site import Site
from client_agent.synthesis.dataset import (
    Dataset,
    Portion,
    count_missing,
    load_dataset,
    plan_dataset,
    synthesise,
)
from client_agent.synthesis.shards import ShardStore


@dataclass(frozen=True)
class Synthesised:
    """What `synthesise` did.

    Attributes:
        made: samples made now; 0 if all were there.
        samples: size of the data set.
        classes: samples per class.
        root: Merkle root that names the data set.
    """

    made: int
    samples: int
    classes: dict[str, int]
    root: str


def make_dataset(
    site: Site, progress: Progress = SILENT, engine: EngineOptions = LOCAL
) -> tuple[Synthesised, Dataset]:
    """Synthesise what is missing and load the whole data set.

    Args:
        site: whose home it is.
        progress: watches.
        engine: where samples are computed.

    Raises:
        NotReadyError: no module has been admitted.
        RefusedError: a module fails when run; the others have been sampled.
        StorageError: the disk refused.
        UsageError, NetworkError: the engine is not there or was lost.
    """
    plan = plan_dataset(admitted_modules(site.home), site.spec)
    if not plan:
        raise NotReadyError(
            "no module is here to synthesise from that fits the federation spec",
            hint="run: ff-agent send, then ff-agent receive; ff-agent status says what is here",
        )
    store = ShardStore(site.home.shards, site.spec, site.trust.federation_id)
    made = _synthesise(site, plan, store, progress, engine)
    dataset = load_dataset(plan, store, site.spec)
    if made:
        site.log.append("synthesised", made=made, root=dataset.root)
    counts: dict[str, int] = {}
    for portion in plan:
        name = portion.module.card.class_name
        counts[name] = counts.get(name, 0) + portion.count
    return Synthesised(made, len(dataset.images), counts, dataset.root), dataset


def _synthesise(
    site: Site,
    plan: tuple[Portion, ...],
    store: ShardStore,
    progress: Progress,
    options: EngineOptions,
) -> int:
    shards = count_missing(plan, store)
    if not shards:
        return 0
    engine = synthesis_engine(options, site.spec.synthesis.threads, shards)
    total = sum(portion.count for portion in plan)
    done = 0
    with progress.task("synthesising", total) as task:

        def show(portion: Portion, added: int) -> None:
            nonlocal done
            done += added
            task.update(min(done, total), portion.module.card.class_name)

        made = synthesise(plan, store, show, engine, progress.note)
        task.update(total)
    return made
