"""A model of the package `transformers` as a model with the cut, at one site of its attention."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from typing import Self

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import PreTrainedModel

from attnaudit.data.records import Begun, Text, TextAt, TextPair
from attnaudit.errors import DataError, ModelError, first_line
from attnaudit.models.cut import Answer, Batch, Model, States
from attnaudit.models.transformer.pieces import owner_of, rows_of_heads, to_positions
from attnaudit.models.transformer.reading import Layout, Reader, asked_about
from attnaudit.models.transformer.registry import EAGER, installed
from attnaudit.models.transformer.rerun import Arguments, Cut, at_rows
from attnaudit.models.transformer.shortest import shortest_cut
from attnaudit.models.transformer.site import Site
from attnaudit.models.transformer.sites import call_of, every_site
from attnaudit.models.transformer.stack import Stack, stack_of
from attnaudit.models.transformer.tasks import logits_of, start_of, stub_of, task_of
from attnaudit.models.transformer.tokens import contrast_of, known_answers, token_names
from attnaudit.models.wrapped.model import module_fingerprint
from attnaudit.nets.pretrained.bounds import bound_of
from attnaudit.nets.pretrained.frozen import NONE
from attnaudit.nets.pretrained.words import WordPieces

CANDIDATES = 8
"""Tokens that a language model is asked to choose from: the likeliest ones of the whole input."""
RANKS = ("the likeliest token", "the second", "the third")


class TransformerModel(Model):
    """A transformer whose attention at one site is on trial.

    The weights are the query row of the site (the first token's for classifiers, the last one's
    for causal models, that of the word asked about, or of the output token), as the mean over its
    heads. Pieces are summed to words. Markers keep their weight, which is the sink mass.

    `decode` puts other weights in place: every head gets the distribution closest to its own so
    that the mean is what was asked for, and the model is run again from the layer of the site.

    Args:
        model: A model with a head, of the package `transformers`.
        tokenizer: Its fast tokenizer.
        site: Where attention is read; by default what people show.
        name: What reports call it.
        target: Of a model with several labels that do not exclude each other: the label to explain;
            of a language model two tokens to choose between, as `Rome|Paris`.
        question_first: Whether the question of a pair stands before the text.
        hide: Whether a masked language model reads the mask token for the word asked about.

    Raises:
        ModelError: The model cannot be cut so; the message says why.
        SettingsError: There is no such site.
    """

    pad_value = NONE
    own_labels = False
    partial = True
    recipe: Callable[[], Model] | None = None
    contrast: list[int] | None = None

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: object,
        site: Site | None = None,
        *,
        name: str = "transformer",
        target: str | None = None,
        question_first: bool = True,
        hide: bool = True,
    ) -> None:
        self.model = model.train(False)
        self.model.requires_grad_(False)
        self.tokenizer, self.site, self.target = tokenizer, site or Site(), target
        self.task = task_of(model)
        words = WordPieces(tokenizer, name)
        table = model.get_input_embeddings()
        assert isinstance(table, nn.Embedding)
        self.table, self.width = table, int(table.embedding_dim)
        # some models multiply vectors that they look up themselves, and not those they are given
        scaled = type(table) is nn.Embedding and getattr(model.config, "scale_embedding", False)
        self.scale = self.width**0.5 if scaled else 1.0
        self.vocabulary = int(self.table.num_embeddings)
        if len(words.tokenizer) > self.vocabulary:
            raise ModelError(
                f"{name}: the tokenizer has {len(words.tokenizer)} tokens and the model knows "
                f"{self.vocabulary}, so they do not belong together"
            )
        self.reader = Reader(
            words,
            self.vocabulary,
            bound_of(model, words),
            name,
            question_first,
            hide=hide and self.task.kind == "masked",
        )
        self.mask_value = words.mask
        self.classes = self._classes()
        self.base_name = name
        self.stack = self._stack(name)
        self._cut_at(self.site)

    def _cut_at(self, site: Site) -> None:
        """Cut it at a site."""
        crossing = self.task.kind == "translation"
        call = call_of(self.stack, site, crossing=crossing, name=self.base_name)
        heads = site.heads or tuple(range(call.heads))
        self.site = site
        self.name = self.base_name if site == Site() else f"{self.base_name} ({site})"
        first = next((c.step for c in self.stack.calls if c.cross), 0) if crossing else 0
        self.cut = Cut(self.model, self.stack, call.index, heads, "plain", False, first)
        self.cut = shortest_cut(self, self._probe())

    # what it is

    def _classes(self) -> tuple[str, ...]:
        config = self.model.config
        if self.task.kind not in ("sequence", "token"):
            if self.target is not None:
                two, self.contrast = contrast_of(self.target, self.reader.words.tokenizer)
                return two
            more = (f"number {k}" for k in range(len(RANKS) + 1, CANDIDATES + 1))
            return (*RANKS, *more)
        names = tuple(str(config.id2label[k]) for k in range(config.num_labels))
        problem = getattr(config, "problem_type", None)
        if problem == "regression":
            raise ModelError(
                f"{type(self.model).__name__}: regression is not supported, only classes are; a "
                "cross-encoder's single logit is read as a class where problem_type is not set"
            )
        if problem == "multi_label_classification":
            if self.target not in names:
                raise ModelError(
                    f"the labels of this model do not exclude each other, so name the one that is "
                    f"explained (target=..., --target): {', '.join(names)}"
                )
            return (f"not {self.target}", str(self.target))
        if len(names) == 1:
            return (f"not {names[0]}", names[0])
        return names

    def targets(self, batch: Batch, outputs: Float[Tensor, "B C"]) -> Int[Tensor, " B"]:
        """The likeliest output; the first one of two tokens that were named."""
        if self.contrast is not None:
            return torch.zeros(len(outputs), dtype=torch.long, device=outputs.device)
        return super().targets(batch, outputs)

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        weight: Tensor = next(self.model.parameters())
        return weight.device

    def to(self, device: torch.device | str) -> Self:
        """Move the parameters to another device; the model itself is returned."""
        self.model.to(device)
        return self

    def at(self, site: Site) -> TransformerModel:
        """The same model, cut at another site."""
        other = copy.copy(self)
        other._cut_at(site)
        other.recipe = None if self.recipe is None else partial(recut, self.recipe, site)
        return other

    def sites(self) -> list[Site]:
        """Every head of every layer."""
        return every_site(self.stack, crossing=self.task.kind == "translation")

    def every_site(self) -> Mapping[str, Model]:
        """The model at every head of every layer."""
        return {f"{site.layer}.{(site.heads or (0,))[0]}": self.at(site) for site in self.sites()}

    def fingerprint(self) -> str:
        """A hash of parameters, tokenizer, site and reading."""
        return (
            self._parameters
            + hashlib.sha256(
                repr(
                    (self.site, self.target, self.reader.question_first, self.reader.hide)
                ).encode()
            ).hexdigest()
        )

    @cached_property
    def _parameters(self) -> str:
        vocabulary = json.dumps(sorted(self.reader.words.tokenizer.get_vocab().items()))
        return module_fingerprint(self.model, hashlib.sha256(vocabulary.encode()).hexdigest())

    def remade(self) -> Callable[[], Model] | None:
        """The same model from where it was loaded; None for one that was given as an object."""
        return self.recipe

    # what it reads

    def prepared(self, record: Text) -> Text:
        """A text with what is asked of it: a word, or the beginning of its translation.

        Where the data do not say which, it is drawn by the id of the record.
        """
        draw = int.from_bytes(hashlib.blake2b(record.id.encode(), digest_size=8).digest())
        if self.task.kind in ("token", "masked") and not isinstance(record, TextAt):
            if len(record.units) < 2:
                raise DataError(
                    f"record {record.id!r} has {len(record.units)} words; to ask about one, two "
                    "or more are needed"
                )
            return asked_about(record, draw % len(record.units))
        if self.task.kind == "translation" and isinstance(record, TextPair):
            words = record.question_units
            if not words or isinstance(record, Begun):
                return record
            cut = draw % len(words)
            known = " ".join(words[:cut])
            return Begun(
                record.id,
                record.text,
                record.units,
                record.offsets,
                None,
                record.truth,
                known,
                tuple(known.split()),
                following=words[cut],
            )
        return record

    def collate(self, records: Sequence[Text]) -> Batch:
        """Records as one batch of pieces, with what is asked of each.

        Raises:
            DataError: There are no records, or one cannot be read or is too long.
        """
        inputs, present, units = self.reader.collate(records)
        extra = self._asked(records)
        batch = Batch(tuple(r.id for r in records), inputs, present, units, extra).to(self.device)
        if self.task.kind in ("sequence", "token"):
            return batch
        # what is likeliest is asked of the whole input, once: edits keep the question
        with torch.no_grad():
            logits = self._encoded(batch, self.embed(batch))[0]
        likeliest = logits.topk(min(CANDIDATES, logits.shape[-1]), dim=-1).indices
        if self.contrast is not None:
            likeliest = torch.tensor([self.contrast] * len(logits), device=logits.device)
        return dataclasses.replace(batch, extra={**batch.extra, "candidates": likeliest})

    def _asked(self, records: Sequence[Text]) -> dict[str, Tensor]:
        """The decoder's tokens, of which the one behind the last is explained."""
        if self.task.kind != "translation":
            return {}
        start = start_of(self.model)
        prefixes = []
        for record in records:
            if not isinstance(record, TextPair):
                raise DataError(
                    f"record {record.id!r} has no translation: a model that translates is asked "
                    "about a text with the beginning of its translation (column role `question`)"
                )
            cut = self.reader.words.tokenizer(
                text_target=record.question, add_special_tokens=False
            )["input_ids"]
            prefixes.append([start, *cut])
        size = max(map(len, prefixes))
        ids = torch.full((len(records), size), self.model.config.pad_token_id or 0)
        for row, prefix in enumerate(prefixes):
            ids[row, : len(prefix)] = torch.tensor(prefix)
        return {"decoder": ids, "last": torch.tensor([len(p) - 1 for p in prefixes])}

    def embed(self, batch: Batch) -> Float[Tensor, "B L PE"]:
        """Word vectors of the pieces of each position, side by side; 0 where there is none."""
        inputs = batch.inputs
        vectors: Tensor = self.table((inputs % self.vocabulary).clamp(min=0)) * self.scale
        return vectors.masked_fill((inputs == NONE).unsqueeze(-1), 0.0).flatten(2)

    def names(self, batch: Batch) -> list[tuple[str, ...]]:
        """The classes; of a language model the tokens that it chooses from."""
        candidates = batch.extra.get("candidates")
        if candidates is None or self.contrast is not None:
            return [self.classes] * len(batch)
        return token_names(self.reader.words.tokenizer, candidates)

    def answers(self, records: Sequence[Text], batch: Batch) -> list[Answer | None] | None:
        """The hidden word, or the next one of the translation, and whether it is the likeliest."""
        if self.task.kind not in ("masked", "translation") or self.contrast is not None:
            return None
        return known_answers(records, self.reader.words, batch.extra["candidates"])

    # the cut

    def encode(self, batch: Batch) -> States:
        """One pass of the model, kept at the cut."""
        return self.encode_embedded(batch, self.embed(batch))

    def encode_embedded(self, batch: Batch, embedded: Tensor) -> States:
        """The same from given word vectors."""
        logits, weights, kept, layout = self._encoded(batch, embedded)
        length = batch.inputs.shape[1]
        own = to_positions(weights.mean(1), layout, length)
        value = kept["value"].mean(1)
        share = to_positions(torch.ones_like(own[:, :1]).expand(layout.real.shape), layout, length)
        index = owner_of(layout).unsqueeze(-1).expand(-1, -1, value.shape[-1])
        hidden = value.new_zeros(len(own), length + 1, value.shape[-1])
        hidden = hidden.scatter_add(1, index, value)[:, 1:] / share.clamp(min=1).unsqueeze(-1)
        extra = {
            **kept,
            **{f"batch.{name}": v for name, v in batch.extra.items()},
            "weights": weights,
            "own": own,
            "owner": owner_of(layout),
        }
        sinks = batch.present & ~batch.units
        return States(
            hidden * batch.units.unsqueeze(-1),
            batch.units,
            extra,
            sinks,
            self._outputs(logits, batch.extra),
        )

    def layout(self, batch: Batch) -> Layout:
        """The pieces of a batch as the transformer takes them."""
        return self.reader.layout(batch.inputs, batch.present)

    def plain_pass(self, batch: Batch, embedded: Tensor) -> tuple[Tensor, Layout, Tensor]:
        """Log-probabilities of the whole model from word vectors, the layout, and the query row."""
        layout = self.layout(batch)
        rows = self._rows(batch, layout)
        logits = at_rows(self._run(self._arguments(batch, embedded, layout)), rows)
        return self._outputs(logits, batch.extra), layout, rows

    def to_positions(self, batch: Batch, values: Float[Tensor, "B T"]) -> Float[Tensor, "B L"]:
        """Values of word pieces summed to words and markers."""
        layout = self.layout(batch)
        return to_positions(values, layout, batch.inputs.shape[1])

    def _encoded(
        self, batch: Batch, embedded: Tensor
    ) -> tuple[Tensor, Tensor, Mapping[str, Tensor], Layout]:
        layout = self.layout(batch)
        rows = self._rows(batch, layout)
        arguments = self._arguments(batch, embedded, layout)
        passed = self.cut.encode(self._run, arguments, rows)
        return passed.output, passed.weights, passed.kept, layout

    @property
    def _typed(self) -> bool:
        """Whether the model tells the two texts of a pair apart by types."""
        types = getattr(self.model.config, "type_vocab_size", 0) or 0
        return "token_type_ids" in self.task.accepts and types > 1

    def _rows(self, batch: Batch, layout: Layout) -> Int[Tensor, " B"]:
        """The query row: whose attention is looked at."""
        if self.task.kind == "translation":
            return batch.extra["last"]
        if self.task.causal:
            return layout.last
        return layout.asked

    def _arguments(self, batch: Batch, embedded: Tensor, layout: Layout) -> dict[str, Tensor]:
        rows, length, places = batch.inputs.shape
        vectors = layout.of_pieces(
            embedded.reshape(rows, length, places, embedded.shape[-1] // places)
        )
        attended = layout.real.clone()
        # a text without any piece attends to its padding: what comes of it is not looked at
        attended[:, 0] |= ~layout.real.any(1)
        found = {"inputs_embeds": vectors, "attention_mask": attended.long()}
        if layout.types.any() and self._typed:
            found["token_type_ids"] = layout.types
        if self.task.kind == "translation":
            found["decoder_input_ids"] = batch.extra["decoder"]
        return found

    def _run(self, arguments: Arguments) -> Tensor:
        return logits_of(self.model, self.task, arguments)

    def attend(self, states: States) -> Float[Tensor, "B L"]:
        """The site's row, words and markers; sums to 1."""
        own = states.extra["own"]
        return own / own.sum(1, keepdim=True).clamp(min=torch.finfo(own.dtype).tiny)

    def decode(self, states: States, weights: Tensor) -> Tensor:
        """Log-probabilities of the model with other weights at the site."""
        if weights.dim() == 2:
            return self.decode(states, weights.unsqueeze(1))[:, 0]
        extra = states.extra
        sinks = states.sinks
        assert sinks is not None
        rows = rows_of_heads(weights, extra["own"], extra["weights"], extra["owner"], sinks)
        dtype = extra["value"].dtype

        def stub(count: int, places: Tensor) -> Arguments:
            width = extra["enter"].shape[-1] if "enter" in extra else self.width
            return self._stub(width, dtype, count, places)

        logits = self.cut.decode(self._run, stub, extra, rows)
        asked = {n.removeprefix("batch."): v for n, v in extra.items() if n.startswith("batch.")}
        return self._outputs(logits, asked)

    def _stub(self, width: int, dtype: torch.dtype, count: int, places: Tensor) -> Arguments:
        """Arguments of a pass of one row per alternative."""
        return stub_of(self.task, width, dtype, places.device, count, places)

    def decode_size(self, states: States) -> int:
        """Numbers held for one alternative: a few layers' states, and rows of the heads."""
        extra = states.extra
        pieces, heads = extra["weights"].shape[2], extra["weights"].shape[1]
        width = self.width
        if self.cut.mode == "tail" or (self.cut.small and self.cut.step == self.stack.steps - 1):
            layers = sum(name.startswith("key.") for name in extra)
            return 8 * width + heads * pieces + layers * 2 * pieces * width // 2
        return 12 * pieces * width + heads * pieces + heads * pieces * pieces

    # outputs

    def _outputs(self, logits: Tensor, asked: Mapping[str, Tensor]) -> Tensor:
        """Log-probabilities `(..., C)` of what the head gave."""
        logits = logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits
        if self.task.kind in ("sequence", "token"):
            if len(self.classes) == 2 and self.target is not None:
                place = [str(v) for v in self.model.config.id2label.values()].index(self.target)
                logits = logits[..., place : place + 1]
            if logits.shape[-1] == 1:
                logits = torch.cat([torch.zeros_like(logits), logits], -1)
            return torch.log_softmax(logits, -1)
        candidates = asked.get("candidates")
        if candidates is None:
            return torch.log_softmax(logits, -1)
        index = candidates.view(len(candidates), *[1] * (logits.dim() - 2), -1)
        return torch.log_softmax(logits.gather(-1, index.expand(*logits.shape[:-1], -1)), -1)

    def whole(self, batch: Batch) -> Float[Tensor, "B C"]:
        """The unmodified model, eager, on the ids of each text by itself."""
        layout = self.layout(batch)
        rows, parts = self._rows(batch, layout), []
        for row in range(len(batch)):
            real = layout.real[row]
            ids = layout.ids[row][real].unsqueeze(0)
            found = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
            types = layout.types[row][real].unsqueeze(0)
            if types.any() and self._typed:
                found["token_type_ids"] = types
            last = int(rows[row])
            if self.task.kind == "translation":
                found["decoder_input_ids"] = batch.extra["decoder"][row : row + 1, : last + 1]
            with installed(self.model, EAGER):
                logits = self._run(found)
            parts.append(logits if logits.dim() == 2 else logits[:, last])
        return self._outputs(torch.cat(parts), batch.extra)

    # how it is run again

    def _stack(self, name: str) -> Stack:
        batch = self._probe()

        def run() -> object:
            layout = self.layout(batch)
            return self._run(self._arguments(batch, self.embed(batch), layout))

        try:
            return stack_of(self.model, run, len(batch))
        except (TypeError, ValueError, RuntimeError, AttributeError, AssertionError) as error:
            raise ModelError(
                f"{name} cannot be read at its attention: {first_line(error)}"
            ) from error

    def _probe(self) -> Batch:
        """Two short inputs of different length, of tokens that are no markers."""
        special = set(self.reader.words.tokenizer.all_special_ids)
        plain = [i for i in range(min(self.vocabulary, 400)) if i not in special][:40:3]
        lengths = (9, 6)
        start, _, end = self.reader.words.template(pair=False)
        inputs = torch.full((2, max(lengths) + len(start) + len(end), 1), NONE)
        units = torch.zeros(inputs.shape[:2], dtype=torch.bool)
        present = units.clone()
        for row, size in enumerate(lengths):
            ids = [*start, *(plain[(row + k) % len(plain)] for k in range(size)), *end]
            inputs[row, : len(ids), 0] = torch.tensor(ids)
            present[row, : len(ids)] = True
            units[row, len(start) : len(start) + size] = True
        extra = {}
        if self.task.kind == "translation":
            begin = start_of(self.model)
            prefix = torch.tensor([[begin, *plain[:3]], [begin, *plain[1:3], 0]])
            extra = {"decoder": prefix, "last": torch.tensor([3, 2])}
        if self.task.kind in ("masked", "token"):
            inputs[:, len(start) + 2] += 2 * self.vocabulary
            units[:, len(start) + 2] = False
        return Batch(("probe 1", "probe 2"), inputs, present, units, extra).to(self.device)


def recut(recipe: Callable[[], Model], site: Site) -> Model:
    """The model of a recipe, cut at another site."""
    model = recipe()
    assert isinstance(model, TransformerModel)
    return model.at(site)
