"""How a model reads the two texts of a pair: the prompt and the modules of each side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from attnaudit.errors import NotApplicable
from attnaudit.models.siamese.tokens import Role

DOCUMENT_PROMPTS = ("document", "passage", "corpus")
"""The names under which `encode_document` looks for a prompt, in this order."""


@dataclass(frozen=True)
class Side:
    """What becomes of a text of one side.

    Attributes:
        prompt: Put before the text.
        modules: What it goes through, one after the other, with every `Router` resolved.
    """

    prompt: str
    modules: tuple[nn.Module, ...]


def sides_of(model: Any, prompt: str | None = None) -> dict[Role, Side]:
    """The sides of a model: `query` and `document` where it reads the two in different ways.

    A model that reads both alike has the one side `text`, read as by `encode`.

    Args:
        model: A `SentenceTransformer`.
        prompt: Put before every text in place of the model's own prompts.

    Raises:
        NotApplicable: A `Router` has no route for a text.
    """
    query = Side(_prompt(model, ("query",)), tuple(_modules(model, "query")))
    document = Side(_prompt(model, DOCUMENT_PROMPTS), tuple(_modules(model, "document")))
    same = query.modules == document.modules
    if prompt is not None:
        query, document = Side(prompt, query.modules), Side(prompt, document.modules)
    if same and query.prompt == document.prompt:
        plain = tuple(_modules(model, None))
        return {"text": Side(_prompt(model, ()) if prompt is None else prompt, plain)}
    return {"query": query, "document": document}


def _prompt(model: Any, names: tuple[str, ...]) -> str:
    """The first of these prompts that the model has, else its default one."""
    prompts: Mapping[str, str | None] = getattr(model, "prompts", None) or {}
    own = next((name for name in names if name in prompts), None)
    own = own if own is not None else getattr(model, "default_prompt_name", None)
    return str(prompts.get(own) or "") if own is not None else ""


def _modules(model: Any, task: str | None) -> list[nn.Module]:
    found: list[nn.Module] = []
    for module in model:
        if type(module).__name__ == "Router" or hasattr(module, "sub_modules"):
            found += list(module.sub_modules[_route(module, task)])
        else:
            found.append(module)
    return found


def _route(router: Any, task: str | None) -> str:
    """The route that a text takes, in the order in which the library looks for it."""
    mapped = getattr(router, "route_mappings", None) or {}
    asked = [(task, "text"), (task, None), (None, "text"), (None, None)]
    routes = [mapped[key] for key in asked if key in mapped]
    routes += [name for name in (task, "text", router.default_route) if name is not None]
    found = next((name for name in routes if name in router.sub_modules), None)
    if found is None:
        known = ", ".join(router.sub_modules)
        raise NotApplicable(
            f"the model's Router has no route for a text; its routes are {known}. Give it a "
            "default_route, or the routes query and document"
        )
    return str(found)
