"""Word vectors from files: against what was written, and against NumPy on real GloVe vectors."""

import gzip

import numpy as np
import pytest
import torch

from attnaudit.errors import DataError, SettingsError
from attnaudit.nets.text.vectors import load_vectors
from attnaudit.nets.text.vocabulary import FIRST_WORD, PAD, UNK, Vocabulary
from tests.shared import shared_dir

WORDS = ("film", "good", "absent")
LINES = "good 1 2 3\nunused 9 9 9\nfilm -0.5 1e-3 7\n"


@pytest.fixture
def vocabulary():
    return Vocabulary(WORDS)


@pytest.mark.parametrize(
    "content",
    [LINES + "\n", "3 3\n" + LINES, LINES.replace("\n", " \r\n"), LINES.replace(" ", "\t")],
    ids=["glove", "word2vec header", "fasttext trailing space", "tabs"],
)
@pytest.mark.parametrize("zipped", [False, True])
def test_text_formats(tmp_path, vocabulary, content, zipped):
    path = tmp_path / ("v.vec.gz" if zipped else "v.vec")
    path.write_bytes(gzip.compress(content.encode()) if zipped else content.encode())
    matrix, coverage = load_vectors(path, vocabulary, dim=3)
    expected = np.zeros((len(vocabulary), 3), dtype=np.float32)
    expected[FIRST_WORD] = [-0.5, 1e-3, 7]
    expected[FIRST_WORD + 1] = [1, 2, 3]
    np.testing.assert_array_equal(matrix.numpy(), expected)
    assert (coverage.found, coverage.total) == (2, 3)
    assert coverage.share == pytest.approx(2 / 3)


def test_words_that_hold_spaces_do_not_shift_the_numbers(tmp_path):
    (tmp_path / "v.txt").write_text("a 1 2\n. . . 3 4\n")
    matrix, _ = load_vectors(tmp_path / "v.txt", Vocabulary((". . .", "a")))
    assert matrix[FIRST_WORD:].tolist() == [[3, 4], [1, 2]]


def test_the_first_of_two_vectors_of_a_word_stays(tmp_path):
    (tmp_path / "v.txt").write_text("a 1 2\na 3 4\n")
    assert load_vectors(tmp_path / "v.txt", Vocabulary(("a",)))[0][FIRST_WORD].tolist() == [1, 2]


def test_absent_words_are_drawn_and_seeded(tmp_path):
    (tmp_path / "v.txt").write_text("film " + " ".join(["1"] * 300) + "\n")
    vocabulary = Vocabulary(("film", *(f"w{k}" for k in range(200))))
    draws = [
        load_vectors(tmp_path / "v.txt", vocabulary, absent_sd=0.5, seed=seed)[0]
        for seed in (1, 1, 2)
    ]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    assert (draws[0][PAD] == 0).all()
    assert (draws[0][FIRST_WORD] == 1).all()
    drawn = torch.cat([draws[0][UNK:FIRST_WORD], draws[0][FIRST_WORD + 1 :]])
    assert drawn.std().item() == pytest.approx(0.5, rel=0.02)
    assert drawn.mean().item() == pytest.approx(0.0, abs=0.01)


@pytest.mark.parametrize("kind", ["U", "S"])
def test_npz(tmp_path, vocabulary, kind):
    vectors = np.arange(6, dtype=np.float64).reshape(2, 3)
    words = np.array(["good", "film"]).astype(kind)
    np.savez(tmp_path / "v.npz", words=words, vectors=vectors)
    matrix, coverage = load_vectors(tmp_path / "v.npz", vocabulary)
    assert matrix[FIRST_WORD:].tolist() == [[3, 4, 5], [0, 1, 2], [0, 0, 0]]
    assert coverage.found == 2


def test_real_glove_vectors():
    path = shared_dir("data/glove50_subset") / "glove50_subset.npz"
    archive = np.load(path, allow_pickle=False)
    vocabulary = Vocabulary(("money", "the", "notaword"))
    matrix, coverage = load_vectors(path, vocabulary, dim=50)
    for word in ("money", "the"):
        row = archive["vectors"][list(archive["words"]).index(word)]
        np.testing.assert_array_equal(matrix[vocabulary.ids[word]].numpy(), row)
    assert coverage.found == 2


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("good 1 2 3\nfilm 1 2\n", "line 2: expected a word and 3 numbers, found 3"),
        ("good 1 x 3\n", "line 1: .*only numbers"),
        ("good 1 nan 3\n", "line 1: the vector holds NaN"),
        ("other 1 2 3\n", "none of the 3 words"),
        ("", "none of the 3 words"),
        ("2 3\n\ngood 1\n", "line 3: expected a word"),
        ("good 1 2 3 4\n", "dimension 4, but 3 is wanted"),
        ("9 4\ngood 1 2 3 4\n", "line 1: vectors have dimension 4"),
        ("good\n", "line 1: "),
    ],
)
def test_broken_text_is_refused(tmp_path, vocabulary, content, says):
    (tmp_path / "v.txt").write_text(content)
    with pytest.raises(DataError, match=says):
        load_vectors(tmp_path / "v.txt", vocabulary, dim=3)


def test_binary_and_truncated_files_are_refused(tmp_path, vocabulary):
    (tmp_path / "v.bin").write_bytes(b"2 300\ngood " + bytes(range(256)) * 8)
    with pytest.raises(DataError, match="line 2"):
        load_vectors(tmp_path / "v.bin", vocabulary)
    whole = gzip.compress("".join(f"w{k} 1 2 3\n" for k in range(5000)).encode())
    (tmp_path / "v.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="cannot be read to its end"):
        load_vectors(tmp_path / "v.gz", vocabulary)
    (tmp_path / "w.gz").write_bytes(b"no gzip")
    with pytest.raises(DataError, match="cannot be read to its end"):
        load_vectors(tmp_path / "w.gz", vocabulary)
    (tmp_path / "v.npz").write_bytes(b"no zip")
    with pytest.raises(DataError, match=r"v\.npz"):
        load_vectors(tmp_path / "v.npz", vocabulary)
    with pytest.raises(DataError, match="no such file"):
        load_vectors(tmp_path / "absent.vec", vocabulary)


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"words": np.array(["good"])}, "must hold the arrays"),
        ({"words": np.array(["good"], dtype=object), "vectors": np.ones((1, 3))}, "objects"),
        ({"words": np.array([1]), "vectors": np.ones((1, 3))}, "list of text"),
        ({"words": np.array(["good"]), "vectors": np.ones((2, 3))}, "one row a word"),
        ({"words": np.array(["good"]), "vectors": np.ones((1, 4))}, "dimension 4, but 3"),
    ],
)
def test_broken_archives_are_refused(tmp_path, vocabulary, arrays, says):
    np.savez(tmp_path / "v.npz", **arrays)
    with pytest.raises(DataError, match=says):
        load_vectors(tmp_path / "v.npz", vocabulary, dim=3)


def test_negative_spread_is_refused(tmp_path, vocabulary):
    (tmp_path / "v.txt").write_text(LINES)
    with pytest.raises(SettingsError, match="absent_sd"):
        load_vectors(tmp_path / "v.txt", vocabulary, absent_sd=-1.0)
