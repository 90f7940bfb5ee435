"""How a source is read: one set of options for texts, bags and pairs; each kind knows its own."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

from attnaudit.data.kinds import Records
from attnaudit.data.sources.frames import column_name, listed, storable
from attnaudit.data.texts.tokens import find_tokenizer
from attnaudit.errors import SettingsError

Column = str | int | Sequence[str | int] | None

ROLES: dict[Records, tuple[str, ...]] = {
    "texts": ("text", "label", "truth", "id", "question", "allowed"),
    "bags": ("bag", "label", "truth", "key_type", "features", "coordinates", "name"),
    "pairs": ("a", "b", "score", "id"),
}
"""What a column can be, for each kind of data."""
SEVERAL = ("features", "coordinates")
"""Roles that take several columns."""
_ANY = ("split", "limit", "seed", "name", "data_dir")
OPTIONS: dict[Records, tuple[str, ...]] = {
    "texts": (
        *("classes", "drop_unlabelled", "drop_empty", "tokenizer", "pipeline"),
        *("min_length", "max_length", "strict_bounds"),
    ),
    "bags": ("classes", "regression", "generator"),
    "pairs": (),
}
"""The options that a kind of data knows beside those that all know."""


@dataclass(frozen=True)
class Reading:
    """How a source is read.

    Attributes:
        columns: Names of columns by role (`ROLES`); a role that is missing has its usual name. None
            for `label` or `score` reads data without them; `features` and `coordinates` take
            several names. `text` may hold lists of units, which are taken as they are; `truth` is
            one 0 or 1 per unit, or spans `[start, end]` of units, end exclusive; `question` is a
            second text that is read beside the first; `allowed` are the answers that a question
            allows. Without `id` a record is called by its row number, as messages count.
        split: `train`, `dev` or `test`; None takes the test split where there are several, and
            says so in the notes; all rows of a single file (of bags, those of its test split).
        limit: Most records, drawn at random; they keep their order.
        seed: Seed of the limit, of cuts, and of bags that are generated.
        name: What reports call the data.
        data_dir: Folder of the files of a named set; without it they come from the hub.
        classes: Names of the classes in index order; by default those found, sorted, integers as
            numbers. Integer labels 0, 1, … may stand for named classes in order.
        drop_unlabelled: Whether rows without a label are left out, instead of an error.
        drop_empty: Whether rows without text are left out, instead of an error.
        tokenizer: Name in `TOKENIZERS`; by default `words`, but `whitespace` where the text column
            is called `tokens`.
        pipeline: `jain2019` reads texts as the released code of "Attention is not Explanation"
            does: lower case, `qqq` for what holds a digit, English contractions taken apart, and
            the bounds below as that paper sets them for the named sets that it uses. A unit may
            then differ from the text at its place. None leaves texts as they are.
        min_length: Fewest units of a record; those of fewer are left out, before the limit.
        max_length: Most units of a record.
        strict_bounds: Whether, where one of these two is missing, all of the shortest, or of the
            longest, texts of the split are left out, as a side effect of that released code does.
            Pairs of texts are not concerned.
        regression: Whether labels of bags are quantities: floats, without classes.
        generator: Options of generated bags: `n_bags`, `n_train`, `delta`, …

    Raises:
        SettingsError: An option out of range, or a column without a name.
    """

    columns: Mapping[str, Column] = field(default_factory=dict)
    split: str | None = None
    limit: int | None = None
    seed: int = 0
    name: str | None = None
    data_dir: str | Path | None = None
    classes: Sequence[str] | None = None
    drop_unlabelled: bool = False
    drop_empty: bool = False
    tokenizer: str | None = None
    pipeline: str | None = None
    min_length: int | None = None
    max_length: int | None = None
    strict_bounds: bool = False
    regression: bool = False
    generator: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_limit(self.limit)
        if isinstance(self.classes, str):
            raise SettingsError(f"classes is a list of names, got the string {self.classes!r}")
        if self.tokenizer is not None:
            find_tokenizer(self.tokenizer)
        for name in self.classes or ():
            storable(str(name), "classes")
        for role in self.columns:
            self.several(role)

    def several(self, role: str) -> tuple[str, ...] | None:
        """The columns of a role; None where none are named."""
        found = self.columns.get(role)
        if found is None:
            return None
        if role not in SEVERAL or isinstance(found, str | int):
            return (column_name(found, f"columns[{role!r}]"),)
        names = tuple(column_name(name, f"columns[{role!r}]") for name in found)
        if role == "coordinates" and len(names) != 2:
            raise SettingsError(f"coordinates are two names, x and y; got {names}")
        return names

    def column(self, role: str, usual: str | None = None) -> str | None:
        """The column of a role, by its usual name where none is named; None for no column."""
        names = self.several(role)
        return names[0] if names else None if role in self.columns else usual

    @property
    def given(self) -> dict[str, str]:
        """The options that differ from what is usual, each as a message names it."""
        usual = Reading()
        named = {role: column_option(role) for role, name in self.columns.items() if name != role}
        others = {
            each.name: f"{each.name}= (--{each.name.replace('_', '-')})"
            for each in fields(self)
            if each.name != "columns" and getattr(self, each.name) != getattr(usual, each.name)
        }
        return {**named, **others}

    def check(self, kind: Records) -> None:
        """Refuse what a kind of data does not know.

        Raises:
            SettingsError: A role or an option of other data.
        """
        for name, words in self.given.items():
            table: Mapping[Records, tuple[str, ...]] = ROLES if name in self.columns else OPTIONS
            if name in table[kind] or (name not in self.columns and name in _ANY):
                continue
            others = [other for other, known in table.items() if name in known]
            if not others:
                raise unknown_role(name, ROLES[kind])
            raise SettingsError(
                f"{words} is about {' and '.join(others)}, and {kind} are read here; leave it out"
            )


def column_option(role: str) -> str:
    """How a message names the option for the column of a role."""
    return f"columns={{{role!r}: …}} (--column {role}=…)"


def unknown_role(role: str, roles: Sequence[str]) -> SettingsError:
    """The error for a role that no column can have."""
    near = difflib.get_close_matches(role, roles, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return SettingsError(f"no column can be {role!r}: the roles are {listed(roles)}.{hint}")


def parse_columns(given: Iterable[str]) -> dict[str, Column]:
    """Columns by role, as they are written on a command line.

    Args:
        given: `role=name` each; `features=` and `coordinates=` take names with commas between, and
            `label=none` says that there are no labels.

    Raises:
        SettingsError: Something else, a role that there is not, or one given twice.

    Example:
        >>> parse_columns(["text=review", "label=none", "coordinates=left,top"])
        {'text': 'review', 'label': None, 'coordinates': ('left', 'top')}
    """
    roles = tuple(dict.fromkeys(role for known in ROLES.values() for role in known))
    found: dict[str, Column] = {}
    for item in given:
        role, _, name = item.partition("=")
        if not name:
            raise SettingsError(
                f"--column {item!r} does not say which column is what: write it as role=name, such "
                "as text=review"
            )
        if role not in roles:
            raise unknown_role(role, roles)
        if role in found:
            raise SettingsError(f"--column {role}= is given twice: {found[role]!r} and {name!r}")
        if role in SEVERAL:
            found[role] = tuple(name.split(","))
        else:
            found[role] = None if role in ("label", "score") and name == "none" else name
    return found


def check_limit(limit: int | None) -> None:
    """Refuse a limit that leaves nothing."""
    if limit is not None and limit < 1:
        raise SettingsError(f"limit (--limit) must be 1 or more, got {limit}")
