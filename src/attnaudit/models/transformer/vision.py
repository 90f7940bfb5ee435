"""Vision transformers: patches are the units, and the class token's row is the site."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import PreTrainedModel

from attnaudit.data.bags.records import Bag
from attnaudit.data.images import Grid, holds_images, pixels_of, read_images
from attnaudit.data.kinds import BAGS, AnyDataset
from attnaudit.data.sources.opening import Place
from attnaudit.errors import DataError, ModelError
from attnaudit.models.cut import Batch
from attnaudit.models.transformer.model import TransformerModel
from attnaudit.models.transformer.reading import Layout
from attnaudit.models.transformer.registry import EAGER, installed
from attnaudit.models.transformer.rerun import Arguments
from attnaudit.models.transformer.site import Site
from attnaudit.models.transformer.tasks import task_of
from attnaudit.models.wrapped.model import module_fingerprint
from attnaudit.nets.pretrained.frozen import NONE

PROBE = 2
"""Images of the probe."""


class VisionModel(TransformerModel):
    """A vision transformer with a head, cut at a site.

    An image is a bag of patches. A patch that is deleted is painted in the mean colour of the
    patches of its image: positions of a vision transformer cannot close ranks.

    Args:
        model: A model for image classification of the package `transformers`.
        grid: How images are cut.
        site: Where attention is read; by default the last layer, mean of heads.
        name: What reports call it.

    Raises:
        ModelError: The model cannot be cut so; the message says why.
        SettingsError: There is no such site.
    """

    kind = BAGS

    def __init__(
        self,
        model: PreTrainedModel,
        grid: Grid,
        site: Site | None = None,
        *,
        name: str = "vision transformer",
    ) -> None:
        self.model = model.train(False)
        self.model.requires_grad_(False)
        self.grid, self.site, self.target = grid, site or Site(), None
        self.task = task_of(model)
        if self.task.kind != "image":
            raise ModelError(
                f"{name}: {type(model).__name__} has no head for classes of images; put one on it "
                "(ForImageClassification)"
            )
        self.width = int(model.config.hidden_size)
        rows, columns = grid.shape
        self.patches = rows * columns
        self.mask_value = None
        self.classes = self._classes()
        self.base_name = name
        self.tokens = 1 + int(getattr(model.config, "num_register_tokens", 0) or 0)
        self.stack = self._stack(name)
        self._cut_at(self.site)

    def _classes(self) -> tuple[str, ...]:
        config = self.model.config
        return tuple(str(config.id2label[k]) for k in range(config.num_labels))

    @cached_property
    def _parameters(self) -> str:
        return module_fingerprint(self.model, repr(self.grid))

    def fingerprint(self) -> str:
        """A hash of parameters, grid and site."""
        return f"{self._parameters}{self.site}"

    def own_data(self, source: Place) -> AnyDataset | None:
        """A folder of images, cut as the model reads them."""
        if not holds_images(source):
            return None
        return read_images(Path(str(source)), self.grid, self.classes)

    # what it reads

    def prepared(self, record: Bag) -> Bag:  # type: ignore[override]
        """The image itself."""
        return record

    def collate(self, records: Sequence[Bag]) -> Batch:  # type: ignore[override]
        """Images as one batch: markers first, then patches with their places.

        Raises:
            DataError: There are no records, or an image has another number of patches.
        """
        if not records:
            raise DataError("a batch needs at least one record")
        for record in records:
            if len(record) != self.patches:
                raise DataError(
                    f"image {record.id!r} has {len(record)} patches, and {self.name} reads "
                    f"{self.patches}"
                )
        pixels = torch.stack([record.instances for record in records])
        size, _, depth = pixels.shape
        inputs = torch.zeros(size, self.tokens + self.patches, depth + 1)
        inputs[:, self.tokens :, :-1] = pixels
        inputs[..., -1] = torch.arange(inputs.shape[1])
        present = torch.ones(inputs.shape[:2], dtype=torch.bool)
        units = present.clone()
        units[:, : self.tokens] = False
        extra = {"baseline": pixels.mean(1)}
        return Batch(tuple(r.id for r in records), inputs, present, units, extra).to(self.device)

    def embed(self, batch: Batch) -> Float[Tensor, "B L D"]:
        """The pixels of the patches."""
        return batch.inputs[..., :-1]

    def layout(self, batch: Batch) -> Layout:
        """All tokens of the grid; a patch that was taken away has no owner."""
        places = batch.inputs[..., -1].long()
        size, total = len(batch), self.tokens + self.patches
        owner = torch.full((size, total), NONE, device=places.device)
        here = torch.arange(places.shape[1], device=places.device).expand_as(places)
        # padding of shorter rows goes to one place more, which is cut off again
        target = torch.where(batch.present & (places >= 0), places, total)
        owner = torch.cat([owner, owner[:, :1]], 1).scatter(1, target, here)[:, :total]
        real = owner >= 0
        zeros = torch.zeros_like(owner)
        return Layout(zeros, zeros, real, owner.clamp(min=0), owner.clamp(min=0), zeros[:, 0])

    def _rows(self, batch: Batch, layout: Layout) -> Int[Tensor, " B"]:
        return torch.zeros(len(batch), dtype=torch.long, device=batch.inputs.device)

    def _arguments(self, batch: Batch, embedded: Tensor, layout: Layout) -> dict[str, Tensor]:
        index = layout.owner[:, self.tokens :].unsqueeze(-1).expand(-1, -1, embedded.shape[-1])
        known = layout.real[:, self.tokens :].unsqueeze(-1)
        painted = batch.extra["baseline"].unsqueeze(1)
        patches = torch.where(known, embedded.gather(1, index), painted)
        dtype = next(self.model.parameters()).dtype
        return {"pixel_values": pixels_of(patches, self.grid).to(dtype)}

    def _stub(self, width: int, dtype: torch.dtype, count: int, places: Tensor) -> Arguments:
        empty = torch.zeros(1, 3, *self.grid.size, dtype=dtype, device=places.device)
        return {"pixel_values": empty.expand(count, -1, -1, -1)}

    def whole(self, batch: Batch) -> Float[Tensor, "B C"]:
        """The unmodified model, eager, on each image by itself."""
        pixels = self._arguments(batch, self.embed(batch), self.layout(batch))["pixel_values"]
        with installed(self.model, EAGER):
            parts = [self._run({"pixel_values": one.unsqueeze(0)}) for one in pixels]
        return self._outputs(torch.cat(parts), batch.extra)

    def _probe(self) -> Batch:
        depth = 3 * self.grid.patch**2
        draws = torch.randn(PROBE, self.patches, depth, generator=torch.Generator().manual_seed(0))
        return self.collate([Bag(f"probe {k}", row) for k, row in enumerate(draws)])

    def at(self, site: Site) -> VisionModel:
        """The same model, cut at another site."""
        other = super().at(site)
        assert isinstance(other, VisionModel)
        return other
