"""Members: one network of bags trained from many seeds, with what each says of the test bags."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import blake2b
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from attnaudit.data.bags.records import BagDataset
from attnaudit.errors import DataError, NotApplicable
from attnaudit.evidence.seeds.layout import check_seeds
from attnaudit.files import tidy
from attnaudit.nets.bags.classifier import BagClassifier, BagConfig, new_bag_net
from attnaudit.nets.bags.inputs import INSTANCES, bag_tensors
from attnaudit.nets.bags.pools import BAG_POOLS
from attnaudit.nets.text.classifier import log_probabilities
from attnaudit.runs.code import code_fingerprint
from attnaudit.runs.disk import read_noted, write_noted
from attnaudit.training.bags import DTYPES, train_many
from attnaudit.training.options import DEFAULTS, TrainOptions

GROUP = 8
"""Seeds trained side by side and stored together."""
FOLDER = "members"
Report = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Members:
    """Networks of one configuration, and their weights on every instance of the test bags.

    Attributes:
        config: What all of them are made of.
        seeds: `S` of them.
        nets: One a seed.
        weights: `(S, T)` float32, the instances of all test bags laid end to end.
        outputs: `(S, n, C)` float32, log-probabilities of the test bags.
        dev: The development metrics of each.
        epochs: The epoch that each keeps.
    """

    config: BagConfig
    seeds: tuple[int, ...]
    nets: tuple[BagClassifier, ...]
    weights: Float[Tensor, "S T"]
    outputs: Float[Tensor, "S n C"]
    dev: tuple[Mapping[str, float], ...]
    epochs: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.seeds)


def train_members(
    config: BagConfig,
    splits: Mapping[str, BagDataset],
    seeds: Sequence[int],
    options: TrainOptions | None = None,
    *,
    folder: str | Path | None = None,
    at_once: int = GROUP,
    progress: Report | None = None,
) -> Members:
    """Train one network a seed, and read its weights on the test bags.

    Args:
        config: The network; its pool must learn weights.
        splits: `train`, `dev` and `test`, labelled, scaled as they should be.
        seeds: One or more, each once.
        options: How to train; its seed is not read.
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
    options = options or DEFAULTS["bags"]
    check_members(config, splits, seeds)
    key = key_of(config, splits, options)
    groups = [tuple(seeds[i : i + at_once]) for i in range(0, len(seeds), at_once)]
    parts: list[Members] = []
    for done, group in enumerate(groups):
        path = None if folder is None else _path(Path(folder), key, group)
        found = None if path is None else _read(path, config, key, group)
        if found is None:
            stage = f"seeds {group[0]} to {group[-1]}" if len(group) > 1 else f"seed {group[0]}"
            found = _train(config, splits, group, _told(options, progress, stage), at_once)
            if path is not None:
                _write(path, found, key)
        parts.append(found)
        if progress is not None:
            progress("seeds", min((done + 1) * at_once, len(seeds)), len(seeds))
    return _joined(parts)


def check_members(
    config: BagConfig, splits: Mapping[str, BagDataset], seeds: Sequence[int]
) -> None:
    """Refuse what cannot be trained and compared.

    Raises:
        DataError: A split is missing.
        NotApplicable: The pool has no weights, or equal ones.
        SettingsError: No seeds, or a seed twice.
    """
    check_seeds(seeds)
    for split in ("train", "dev", "test"):
        if split not in splits:
            raise DataError(
                f"there is no split {split!r}: seeds are trained on train, chosen on "
                "dev and compared on test"
            )
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


def _train(
    config: BagConfig,
    splits: Mapping[str, BagDataset],
    seeds: Sequence[int],
    options: TrainOptions,
    at_once: int,
) -> Members:
    fits = train_many(config, splits["train"], splits["dev"], seeds, options, at_once=at_once)
    read = [read_weights(fit.model, splits["test"]) for fit in fits]
    return Members(
        config,
        tuple(seeds),
        tuple(fit.model for fit in fits),
        torch.stack([weights for weights, _ in read]),
        torch.stack([outputs for _, outputs in read]),
        tuple(fit.dev for fit in fits),
        tuple(fit.best_epoch for fit in fits),
    )


def _told(options: TrainOptions, progress: Report | None, stage: str) -> TrainOptions:
    if progress is None:
        return options
    report = progress
    return replace(options, report=lambda _, done, total: report(stage, done, total))


def _joined(parts: Sequence[Members]) -> Members:
    return Members(
        parts[0].config,
        tuple(seed for part in parts for seed in part.seeds),
        tuple(net for part in parts for net in part.nets),
        torch.cat([part.weights for part in parts]),
        torch.cat([part.outputs for part in parts]),
        tuple(row for part in parts for row in part.dev),
        tuple(epoch for part in parts for epoch in part.epochs),
    )


# --- a group of seeds on disk


def key_of(config: BagConfig, splits: Mapping[str, BagDataset], options: TrainOptions) -> str:
    """A hash of what decides the numbers of a seed: network, data, training, code."""
    about = {**options.plain(), "device": options.device, "seed": None}
    data = [splits[name].fingerprint for name in ("train", "dev", "test")]
    known = json.dumps([asdict(config), about, data, code_fingerprint(__name__)], sort_keys=True)
    return blake2b(known.encode(), digest_size=16).hexdigest()


def _path(folder: Path, key: str, seeds: Sequence[int]) -> Path:
    some = blake2b(repr(tuple(seeds)).encode(), digest_size=3).hexdigest()
    return folder / FOLDER / f"{key[:8]}-{seeds[0]}-{len(seeds)}-{some}.safetensors"


def _write(path: Path, members: Members, key: str) -> None:
    tensors = {"weights": members.weights, "outputs": members.outputs}
    for place, net in enumerate(members.nets):
        tensors |= {
            f"net.{place}.{name}": value.detach().cpu().contiguous()
            for name, value in net.state_dict().items()
        }
    about = {
        "seeds": members.seeds,
        "dev": [dict(d) for d in members.dev],
        "epochs": members.epochs,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    tidy(path.parent)
    content = save(tensors, metadata={"key": key, "about": json.dumps(about)})
    write_noted(path, content, path.parent)


def _read(path: Path, config: BagConfig, key: str, seeds: Sequence[int]) -> Members | None:
    """A finished group; None where there is none, or a damaged one."""
    try:
        if read_noted(path, path.parent) is None:
            return None
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            about = json.loads(header["about"])
            if header["key"] != key or about["seeds"] != list(seeds):
                return None
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        nets = []
        for place, seed in enumerate(seeds):
            start = f"net.{place}."
            state = {k.removeprefix(start): v for k, v in tensors.items() if k.startswith(start)}
            dtype = next(iter(state.values())).dtype if state else DTYPES["float32"]
            net = new_bag_net(config, seed, dtype)
            net.load_state_dict(state)
            nets.append(net)
        return Members(
            config,
            tuple(seeds),
            tuple(nets),
            tensors["weights"],
            tensors["outputs"],
            tuple(about["dev"]),
            tuple(about["epochs"]),
        )
    except (OSError, SafetensorError, KeyError, ValueError, TypeError, RuntimeError):
        return None
