"""Members: one network of bags trained from many seeds, with what each says of the test bags."""

from __future__ import annotations

import contextlib
import json
import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Float, Int
from safetensors.torch import load, save
from torch import Tensor

from attnaudit.data.bags.records import BagDataset
from attnaudit.data.kinds import AnyDataset
from attnaudit.errors import DataError, NotApplicable
from attnaudit.evidence.contract import Splits
from attnaudit.evidence.seeds.layout import check_seeds
from attnaudit.evidence.seeds.network import SPLITS, Network
from attnaudit.findings.wording import spoken_time
from attnaudit.nets.bags.classifier import BagClassifier, BagConfig, new_bag_net
from attnaudit.nets.bags.inputs import INSTANCES, bag_tensors
from attnaudit.nets.bags.pools import BAG_POOLS
from attnaudit.nets.text.classifier import log_probabilities
from attnaudit.progress import Report
from attnaudit.runs.cell import Cell, Outcome, Place
from attnaudit.runs.disk import read_sure, write_noted
from attnaudit.runs.execute import run_cells, watched
from attnaudit.runs.inputs import Input, holding
from attnaudit.runs.store import AGAIN, Store
from attnaudit.training.bags import DTYPES, train_many

GROUP = 8
"""Seeds trained side by side and stored together."""
BAG_SECONDS = 9e-5
"""CPU seconds of one bag in one epoch of one seed."""
FILE = "members.safetensors"


@dataclass(frozen=True)
class Members:
    """Networks of one configuration, and their weights on every instance of the test bags.

    Attributes:
        config: What all of them are made of.
        seeds: `S` of them.
        nets: One a seed.
        weights: `(S, T)` float32, the instances of all test bags laid end to end.
        outputs: `(S, n, C)` float32, log-probabilities of the test bags.
        dev: `(S,)` float64, bag AUC on the development bags; NaN where it is undefined.
        epochs: `(S,)`, the epoch that each keeps.
    """

    config: BagConfig
    seeds: tuple[int, ...]
    nets: tuple[BagClassifier, ...]
    weights: Float[Tensor, "S T"]
    outputs: Float[Tensor, "S n C"]
    dev: Float[Tensor, " S"]
    epochs: Int[Tensor, " S"]

    def __len__(self) -> int:
        return len(self.seeds)


def train_members(
    network: Network,
    splits: Splits,
    seeds: Sequence[int],
    *,
    folder: str | Path | None = None,
    at_once: int = GROUP,
    progress: Report | None = None,
) -> Members:
    """Train one network per seed, and read its weights on the test bags.

    Args:
        network: What is trained, and how; its pool must learn weights.
        splits: `train`, `dev` and `test`, labelled, as they are before scaling.
        seeds: One or more, each once.
        folder: Where groups of finished seeds are kept: the same call trains no seed again that
            is there. None keeps nothing.
        at_once: Seeds that are trained side by side, and stored together.
        progress: Told `(stage, done, total)`.

    Raises:
        DataError: A split is missing or cannot be used.
        NotApplicable: The pool learns no weights.
        SettingsError: No seeds, a seed twice, or as `train_many`.
        ModelError: Training diverges.
        RunError: The folder cannot be written.
    """
    with contextlib.ExitStack() as stack:
        if folder is None:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="attnaudit-"))
        fingerprint = json.dumps({name: part.fingerprint for name, part in splits.items()})
        held = stack.enter_context(holding(splits, fingerprint, name="the bags"))
        cells = group_cells(network, held, seeds, at_once)
        store = Store(Path(folder), "audit")
        watch = None if progress is None else watched(progress)
        run_cells(cells, store, device=network.options.device, watch=watch)
        return read_members(network, cells, store)


def group_cells(
    network: Network, splits: Input[Splits], seeds: Sequence[int], at_once: int = GROUP
) -> list[Cell]:
    """One cell per group of seeds that are trained side by side.

    Raises:
        DataError: A split is missing, or does not hold bags.
        NotApplicable: The pool has no weights, or equal ones.
        SettingsError: No seeds, or a seed twice.
    """
    check_seeds(seeds)
    data = bags_of(splits.get())
    check_pool(network.config)
    known = {name: data[name].fingerprint for name in SPLITS}
    spec = {**network.trained(), "data": known}
    bags = len(data["train"]) * network.options.epochs
    groups = [tuple(seeds[i : i + at_once]) for i in range(0, len(seeds), at_once)]
    return [
        Cell(
            f"seeds {', '.join(map(str, group))}",
            GroupWork(network, splits, group),
            {**spec, "seeds": list(group)},
            cost=bags * len(group) * BAG_SECONDS,
            vital=True,
        )
        for group in groups
    ]


def bags_of(splits: Mapping[str, AnyDataset]) -> dict[str, BagDataset]:
    """The three splits that seeds need.

    Raises:
        DataError: One is missing, or does not hold bags.
    """
    found = {}
    for name in SPLITS:
        part = splits.get(name)
        if part is None:
            raise DataError(
                f"there is no split {name!r}: seeds are trained on train, chosen on "
                "dev and compared on test"
            )
        if not isinstance(part, BagDataset):
            raise DataError(f"{part.name} does not hold bags: seeds are compared on bags")
        found[name] = part
    return found


def check_pool(config: BagConfig) -> None:
    """Refuse a pool that learns no weights.

    Raises:
        NotApplicable: It has no weights, or equal ones.
    """
    new_bag_net(config, 0)  # refuses an unknown pool in its own words
    kind = BAG_POOLS[config.pool].weights
    if kind != "learned":
        why = "has no weights" if kind == "none" else "gives every instance an equal weight"
        learned = ", ".join(name for name, pool in BAG_POOLS.items() if pool.weights == "learned")
        raise NotApplicable(
            f"the pool {config.pool!r} {why}, so there is nothing that could fail silently; choose "
            f"one that learns weights (--pool): {learned}"
        )


@torch.no_grad()
def read_weights(
    net: BagClassifier, data: BagDataset, budget: int = INSTANCES
) -> tuple[Float[Tensor, " T"], Float[Tensor, "n C"]]:
    """Weights on the instances, laid end to end, and log-probabilities; on the CPU, in float32.

    Bags go by size under a budget of instances, so that memory is bounded by the largest bag.

    Args:
        net: A network whose pool has weights.
        data: Labelled bags.
        budget: Padded instances at once, unless a single bag has more.

    Raises:
        DataError: The bags do not fit the network.
        NotApplicable: The pool has no weights.
    """
    parameter = next(net.parameters())
    bags = bag_tensors(data, net.config, "test", parameter.dtype, parameter.device)
    outputs = torch.empty(len(bags), len(net.config.classes))
    weights = torch.empty(len(bags.values))
    for rows in bags.groups(budget):
        instances, mask, _ = bags.take(rows)
        passed = net.run(instances, mask)
        if passed.weights is None:
            raise NotApplicable(f"the pool {net.config.pool!r} has no weights")
        outputs[rows.cpu()] = log_probabilities(passed.logits).float().cpu()
        place = bags.starts[rows].unsqueeze(-1) + torch.arange(mask.shape[1], device=mask.device)
        weights[place[mask].cpu()] = passed.weights[mask].float().cpu()
    return weights, outputs


@dataclass(frozen=True)
class GroupWork:
    """Seeds that are trained side by side, and their weights on the test bags.

    Attributes:
        network: What is trained.
        splits: The bags, as they were before scaling.
        seeds: From which seeds.
    """

    network: Network
    splits: Input[Splits]
    seeds: tuple[int, ...]

    def __call__(self, cell: Cell, place: Place) -> Outcome:
        """Train them, and store networks, weights and outputs in the cell's folder."""
        splits = self.network.scaled(bags_of(self.splits.get()))

        def told(_: str, done: int, total: int) -> None:
            place.progress(cell.name, done, total)

        fits = train_many(
            self.network.config,
            splits["train"],
            splits["dev"],
            self.seeds,
            replace(self.network.options, device=place.device, report=told),
            at_once=len(self.seeds),
        )
        read = [read_weights(fit.model, splits["test"]) for fit in fits]
        tensors = {
            "weights": torch.stack([weights for weights, _ in read]),
            "outputs": torch.stack([outputs for _, outputs in read]),
            "seeds": torch.tensor(self.seeds),
            "epochs": torch.tensor([fit.best_epoch for fit in fits]),
            "dev": torch.tensor(
                [fit.dev.get("dev_roc_auc", math.nan) for fit in fits], dtype=torch.float64
            ),
        }
        for i, fit in enumerate(fits):
            tensors |= {
                f"net.{i}.{name}": value.detach().cpu().contiguous()
                for name, value in fit.model.state_dict().items()
            }
        write_noted(place.folder / FILE, save(tensors), place.folder)
        return Outcome(facts={"seeds": list(self.seeds)})


def forecast_of_seeds(cells: Sequence[Cell], waiting: Sequence[Cell], workers: int) -> str | None:
    """How many seeds will be trained and how long that will take, in words; None for none.

    It rests on what a bag of some ten instances costs here.
    """
    works = [cell for cell in cells if isinstance(cell.work, GroupWork)]
    names = {cell.name for cell in waiting}
    ahead = [cell for cell in works if cell.name in names]
    if not works:
        return None
    seeds = sum(len(cell.work.seeds) for cell in ahead if isinstance(cell.work, GroupWork))
    if not seeds:
        return "all seeds are trained"
    seconds = sum(cell.cost for cell in ahead)
    whole = max(seconds / workers, max(cell.cost for cell in ahead))
    return f"about {spoken_time(whole)}: {seeds} seeds of one network, {len(ahead)} groups"


def read_members(network: Network, cells: Sequence[Cell], store: Store) -> Members:
    """The members of finished groups, in the order of the groups.

    Raises:
        RunError: What a group has stored is gone, or not what was written.
    """
    folders = [store.folder / cell.place for cell in cells]
    groups = [load(read_sure(f / FILE, f, "group of seeds", AGAIN)) for f in folders]
    nets = []
    for group in groups:
        for i, seed in enumerate(group["seeds"].tolist()):
            start = f"net.{i}."
            state = {k.removeprefix(start): v for k, v in group.items() if k.startswith(start)}
            nets.append(new_bag_net(network.config, seed, DTYPES[network.options.dtype]))
            nets[-1].load_state_dict(state)
    joined = {
        name: torch.cat([group[name] for group in groups])
        for name in ("weights", "outputs", "dev", "epochs")
    }
    seeds = tuple(seed for group in groups for seed in group["seeds"].tolist())
    return Members(network.config, seeds, tuple(nets), **joined)
