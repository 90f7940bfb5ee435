"""bAbI tasks 1 to 3: in the format that they are published in, or as JSON lines."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from attnaudit.data.sources.files import data_stem, read_file, read_text
from attnaudit.data.sources.folders import SplitReader, data_files, split_name
from attnaudit.data.sources.frames import Table, from_rows, required
from attnaudit.errors import DataError

LOCATIONS = ("bathroom", "bedroom", "garden", "hallway", "kitchen", "office")
"""The answers of tasks 1 to 3."""

_TASKS = re.compile(r"qa(\d+)(?:-(\d+))?")
_LARGE = "10k"


@dataclass(frozen=True)
class Question:
    """One question with the facts told before it.

    Attributes:
        line: Where it stands in its file, counted from 1.
        id: Story and number within the story.
        facts: What was told, sentence by sentence.
        question: The question.
        answer: Its answer.
        supporting: Indices of the facts that give the answer.
    """

    line: int
    id: str
    facts: tuple[str, ...]
    question: str
    answer: str
    supporting: tuple[int, ...]


def babi_splits(folder: Path, task: int, large: bool) -> dict[str, SplitReader]:
    """What reads each split of a task.

    The folder holds either files such as `qa1_single-supporting-fact_train.txt`, or the folders
    `en` and `en-10k` of the published archive with them, or JSON lines with the columns `task`,
    `context`, `question`, `answer` and `supporting`.

    Args:
        folder: Where the files lie.
        task: 1 to 3.
        large: Whether training questions are the 10,000 instead of the 1,000.

    Raises:
        DataError: No files of the task.
    """
    found = _published(folder, task, large) or _json_lines(folder, task, large)
    if "train" not in found and "test" not in found:
        size = " with 10,000 training questions" if large else ""
        raise DataError(
            f"the folder {folder} holds no files of bAbI task {task}{size}: expected "
            f"qa{task}_…_train.txt and qa{task}_…_test.txt, or the folder "
            f"{'en-10k' if large else 'en'} of the published archive, that holds them"
        )
    return {split: _reader(path, task, split) for split, path in found.items()}


def read_questions(text: str, name: str) -> Iterator[Question]:
    r"""The questions of a file in the published format.

    Each line is a number and a sentence; a question goes on with a tab, the answer, a tab and the
    numbers of the supporting lines. Number 1 starts a new story.

    Raises:
        DataError: A line is something else, or supports itself with a line that is no fact.

    Example:
        >>> lines = "1 Mary went home.\n2 Where is Mary? \thome\t1\n"
        >>> [(q.facts, q.question, q.answer, q.supporting) for q in read_questions(lines, "demo")]
        [(('Mary went home.',), 'Where is Mary?', 'home', (0,))]
    """
    facts: dict[str, str] = {}
    story = asked = 0
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        index, _, sentence = line.strip().partition(" ")
        parts = [part.strip() for part in sentence.split("\t")]
        if not index.isdecimal() or not parts[0] or len(parts) not in (1, 3):
            raise DataError(
                f"{name}, line {number}: {line!r:.60} is neither a number with a sentence, nor a "
                "number with a question, a tab, the answer, a tab and the numbers of its facts"
            )
        if index == "1":
            facts, asked, story = {}, 0, story + 1
        if len(parts) == 1:
            facts[index] = parts[0]
            continue
        places = {key: place for place, key in enumerate(facts)}
        support = parts[2].split()
        if not all(key in places for key in support):
            raise DataError(
                f"{name}, line {number}: {parts[2]!r} are no numbers of facts before it"
            )
        asked += 1
        supporting = tuple(places[key] for key in support)
        facts_told = tuple(facts.values())
        yield Question(number, f"{story}-{asked}", facts_told, parts[0], parts[1], supporting)


def babi_table(questions: Sequence[Question], name: str) -> Table:
    """Questions as a table: facts joined by ` . `, final stops stripped, evidence per word.

    Raises:
        DataError: There are none.

    Example:
        >>> told = ("Mary went home.", "John left.")
        >>> table = babi_table([Question(3, "1-1", told, "Where is Mary?", "home", (0,))], "demo")
        >>> table.values("text"), table.values("question"), table.values("truth")
        (['Mary went home . John left'], ['Where is Mary'], [[1, 1, 1, 0, 0, 0]])
    """
    rows = []
    for question in questions:
        truth: list[int] = []
        facts = [fact.strip().removesuffix(".").strip() for fact in question.facts]
        for index, fact in enumerate(facts):
            separator = [0] if index else []
            truth += separator + [int(index in question.supporting)] * len(fact.split())
        rows.append(
            {
                "id": question.id,
                "text": " . ".join(facts),
                "question": question.question.strip().removesuffix("?").strip(),
                "answer": question.answer,
                "truth": truth,
            }
        )
    return from_rows(rows, name, [question.line for question in questions], "line")


def _reader(paths: Sequence[Path], task: int, split: str) -> SplitReader:
    def read(limit: int | None, seed: int) -> Table:
        questions = [question for path in paths for question in _questions(path, task)]
        return babi_table(questions, str(paths[0]))

    return read


def _questions(path: Path, task: int) -> Iterator[Question]:
    if path.name.lower().removesuffix(".gz").endswith(".txt"):
        yield from read_questions(read_text(path), str(path))
        return
    table = read_file(path)
    names = ("task", "story", "context", "question", "answer", "supporting")
    columns = required(table, names, "bAbI as JSON lines")
    asked: dict[object, int] = {}
    for row in range(table.size):
        at, story, facts, question, answer, support = (columns[name][row] for name in names)
        if at != task:
            continue
        if not isinstance(facts, list) or not isinstance(support, list) or not facts:
            raise DataError(f"{table.place(row)}: 'context' and 'supporting' must be lists")
        if not all(isinstance(index, int) and 0 <= index < len(facts) for index in support):
            raise DataError(f"{table.place(row)}: {support} are no indices of {len(facts)} facts")
        asked[story] = asked.get(story, 0) + 1
        id = f"{story}-{asked[story]}"
        number = table.numbers[row]
        yield Question(number, id, tuple(facts), question, answer, tuple(support))


def _published(folder: Path, task: int, large: bool) -> dict[str, list[Path]]:
    """The text files of a task by split."""
    own = "en-10k" if large else "en"
    for place in (folder / own, folder / "tasks_1-20_v1-2" / own, folder):
        found = {}
        for path in sorted(place.glob(f"qa{task}_*.txt*")) if place.is_dir() else []:
            stem = path.name.lower().removesuffix(".gz").removesuffix(".txt")
            found[split_name(stem.rsplit("_", 1)[-1])] = [path]
        if found:
            return found
    return {}


def _json_lines(folder: Path, task: int, large: bool) -> dict[str, list[Path]]:
    """The files of JSON lines that hold a task, by split.

    A name such as `en_qa1-3_train` says which tasks are in it; `10k` in it, how many questions.
    """
    found: dict[str, list[Path]] = {}
    for path in data_files(folder):
        stem = data_stem(path).lower()
        tasks = _TASKS.search(stem)
        first, last = (int(tasks[1]), int(tasks[2] or tasks[1])) if tasks else (1, 20)
        split = split_name(re.split(r"[_.-]", stem)[-1])
        if first <= task <= last and (split == "test" or (_LARGE in stem) == large):
            found.setdefault(split, []).append(path)
    # The test questions alone are those of the small set.
    return {} if large and "train" not in found else found
