"""Scores of meaning against scikit-learn, SciPy, loops and words whose meaning is known."""

import functools
import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from ssl_lab.errors import UserError
from ssl_lab.evaluation import wordnet
from ssl_lab.evaluation.meaning import meaning, table
from ssl_lab.evaluation.ranking import auc, cosine, spearman
from ssl_lab.evaluation.river_bank import RIVER, river_bank
from ssl_lab.evaluation.score import Score
from ssl_lab.evaluation.similarity import read_rated, similarity_score
from ssl_lab.evaluation.word_sense import LINEAR, Contexts, mean_share, read_contexts, sense_controls, sense_scores
from ssl_lab.report import figures

SHARED = Path(__file__).parents[2] / "shared" / "data"
SENSES = SHARED / "word_senses"
needs_senses = pytest.mark.skipif(not SENSES.is_dir(), reason="needs ../shared/data/word_senses")
needs_wordnet = pytest.mark.skipif(not wordnet.FOLDER.is_dir(), reason="needs apt-get install wordnet-base")
RNG = np.random.default_rng(0)


@functools.cache
def vector_of(key):
    return np.random.default_rng(list(str(key).encode())).standard_normal(16)


def static(sentences, positions):
    """A vector for the word alone, whatever its context."""
    return np.stack([vector_of(words[i].lower()) for words, i in zip(sentences, positions, strict=True)])


def test_auc_is_scikit_learns_and_its_interval_delongs():
    positive, negative = RNG.integers(0, 9, 40) + 2.0, RNG.integers(0, 9, 70) * 1.0  # with ties
    score = auc(positive, negative)
    assert score.value == pytest.approx(roc_auc_score([1] * 40 + [0] * 70, [*positive, *negative]))
    wins = np.array([[(p > n) + (p == n) / 2 for n in negative] for p in positive])
    variance = wins.mean(1).var(ddof=1) / 40 + wins.mean(0).var(ddof=1) / 70
    assert score.high - score.value == pytest.approx(1.959964 * math.sqrt(variance))
    assert score.n == 110


def test_spearman_is_scipys():
    x = RNG.standard_normal(50)
    y = 0.3 * x + RNG.standard_normal(50)
    theirs = spearmanr(x, y)
    ours = spearman(np.append(x, [np.nan] * 50), np.append(y, np.zeros(50)))
    assert ours.value == pytest.approx(theirs.statistic)
    assert ours.p == pytest.approx(theirs.pvalue, abs=0.01)
    assert (ours.n, ours.coverage) == (50, 0.5)
    error = math.sqrt((1 + ours.value**2 / 2) / 47)
    assert math.atanh(ours.high) - math.atanh(ours.value) == pytest.approx(1.959964 * error)
    with pytest.raises(UserError, match="only 3 of 4 pairs"):
        spearman(np.array([1.0, 2, 3, np.nan]), np.arange(4.0))


def test_cosine_of_known_vectors():
    x, y = np.array([[3.0, 4], [1, 0], [0, 0]]), np.array([[4.0, 3], [-2, 0], [1, 1]])
    assert cosine(x, y)[:2] == pytest.approx([24 / 25, -1])
    assert np.isnan(cosine(x, y)[2])


def test_mean_of_shares():
    score = mean_share([Score(0.5, 0, 0, 100), Score(0.9, 0, 0, 400)])
    assert (score.value, score.n) == (0.7, 500)
    assert score.high - 0.7 == pytest.approx(1.959964 * math.sqrt(0.25 / 100 + 0.09 / 400) / 2)


@pytest.fixture
def sets():
    """The sense is the word to the left; the words further away are the same for all."""
    draw = np.random.default_rng(1)

    def contexts(n):
        senses = draw.choice(3, n, p=[0.5, 0.3, 0.2]).tolist()
        others = [[f"left{i}" for i in draw.permutation(3) if i != sense] for sense in senses]
        tokens = [[o[0], "x", f"left{s}", "Word", "x", o[1]] for s, o in zip(senses, others, strict=True)]
        return Contexts(tokens, [3] * n, senses)

    return {"word": (contexts(200), contexts(300))}


def test_senses_are_told_by_vectors_that_hold_them_and_by_no_others(sets):
    def left(sentences, positions):
        return static(sentences, [i - 1 for i in positions])

    assert {score.value for score in sense_scores(sets, left).values()} == {1}
    majority = np.mean([sense == 0 for sense in sets["word"][1].senses])
    assert sense_scores(sets, static)[LINEAR].value == majority


def test_controls_of_word_sense(sets):
    scores = {name: score.value for name, score in sense_controls(sets).items()}
    assert scores["majority"] == np.mean([sense == 0 for sense in sets["word"][1].senses])
    assert scores["bag_of_words"] == scores["majority"]  # all sentences have the same words
    assert scores["bag_of_words_neighbours"] == 1


@needs_senses
def test_controls_on_senseval_are_those_known():
    """Measured elsewhere, on about as many contexts: majority 56.1, bag of words 82.3, with two neighbours 87.0."""
    scores = sense_controls(read_contexts(SENSES))
    assert [score.value for score in scores.values()] == pytest.approx([0.561, 0.823, 0.870], abs=0.01)


def save(file, **columns):
    file.parent.mkdir(exist_ok=True)
    pq.write_table(pa.table(columns), file)


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"word": ["a"], "tokens": [["a"]], "sense": ["s"]}, "position"),
        ({"word": ["a"], "tokens": [["a"]], "position": [1], "sense": ["s"]}, "position 1 lies outside .* of 1 tokens"),
        ({"word": ["b"], "tokens": [["b"]], "position": [0], "sense": ["s"]}, "a stand in test.parquet and not in"),
    ],
)
def test_bad_contexts_are_named(tmp_path, columns, says):
    save(tmp_path / "train.parquet", **columns)
    save(tmp_path / "test.parquet", word=["a"], tokens=[["a"]], position=[0], sense=["s"])
    with pytest.raises(UserError, match=says):
        read_contexts(tmp_path)
    with pytest.raises(UserError, match="nowhere"):
        read_contexts(tmp_path / "nowhere")


DATA = """\
  1 a line of the licence
00000001 06 n 02 bank 0 river_bank 0 001 @ 00000009 n 0000 | land by water; "the left bank"; "a muddy Bank, here"
00000002 06 n 01 bank 1 000 | a house for money; "the bank lent it"; "banks lend"
00000003 06 a 02 quick(a) 0 fast 0 000 | "a quick word"
"""
INDEX = "  1 licence\nbank n 2 1 @ 2 1 00000001 00000002\n"


def mini(folder):
    for part in wordnet.PARTS:
        (folder / f"data.{part}").write_text(DATA if part == "noun" else "")
        (folder / f"index.{part}").write_text(INDEX if part == "noun" else "")
    return folder


def test_wordnet_is_read_as_its_manual_says(tmp_path):
    first, second, third = wordnet.read_synsets(mini(tmp_path))
    assert (first.key, first.lemmas) == ("n00000001", ["bank", "river_bank"])
    assert first.examples == [["the", "left", "bank"], ["a", "muddy", "Bank", ",", "here"]]
    assert third.lemmas == ["quick", "fast"]
    pairs = wordnet.sense_pairs([first, second, third])
    assert {len(words) for words, _ in pairs["same"][0]} == {3, 5}
    assert (["the", "bank", "lent", "it"], 1) in pairs["different"][0]
    assert wordnet.read_tagged(tmp_path) == {("bank", "n00000001")}
    assert wordnet.synonyms([third], {("quick", "n00000003"), ("fast", "n00000003")}) == [("fast", "quick")]
    assert wordnet.synonyms([third], {("quick", "n00000003")}) == []
    with pytest.raises(UserError, match="apt-get install wordnet-base"):
        wordnet.read_synsets(tmp_path / "nowhere")


@needs_wordnet
def test_wordnet_pairs_need_the_context():
    """WordNet 3.0 has 117,659 synsets (its manual page wnstats)."""
    synsets = wordnet.read_synsets()
    assert len(synsets) == 117_659
    pairs = wordnet.sense_pairs(synsets)
    assert len(pairs["same"]) == len(pairs["different"]) > 2000
    pairs = {kind: some[:500] for kind, some in pairs.items()}
    key = {tuple(example): synset.key for synset in synsets for example in synset.examples}
    knowing = lambda sentences, _: np.stack([vector_of(key[tuple(words)]) for words in sentences])  # noqa: E731
    assert wordnet.pair_score(pairs, knowing).value > 0.99  # few sentences are examples of two synsets
    assert wordnet.pair_score(pairs, static).value == pytest.approx(0.5)
    same = wordnet.synonyms(synsets, wordnet.read_tagged(), limit=500)
    assert wordnet.synonym_score(same, static).value == pytest.approx(0.5, abs=0.05)


def test_similarity_of_rated_pairs(tmp_path):
    file = tmp_path / "pairs.txt"
    angles = {word: angle for angle, word in enumerate("abcdef")}
    file.write_text(
        "# comment\n\n" + "".join(f"a\t{word}\t{9 - angle}\n" for word, angle in angles.items()) + "a\tz\t3\n"
    )

    def words(sentences, _):
        found = [angles.get(word, math.nan) / 4 for (word,) in sentences]
        return np.stack([np.cos(found), np.sin(found)], axis=1)

    score = similarity_score(read_rated(file), words)
    assert (score.value, score.n, score.coverage) == (pytest.approx(1), 6, 6 / 7)
    file.write_text("a\tb\t1\na b 2\n")
    with pytest.raises(UserError, match=r"line 2: expected word<TAB>word<TAB>rating, found 'a b 2'"):
        read_rated(file)


def test_river_bank_against_bank_account():
    def knowing(sentences, positions):
        assert all(words[i] == "bank" for words, i in zip(sentences, positions, strict=True))
        return np.stack([vector_of(" ".join(words) in RIVER) for words in sentences])

    shown = river_bank(knowing)
    assert shown.score.value == 1
    assert (shown.within_river, shown.within_money) == (pytest.approx(1), pytest.approx(1))
    assert shown.across == pytest.approx(cosine(vector_of(True)[None], vector_of(False)[None])[0])
    assert river_bank(static).score.value == pytest.approx(0.5)
    (heat,) = figures.river_bank(shown).data
    assert np.array(heat.z).shape == (20, 20)
    assert len(set(heat.x)) == 20


def test_all_of_it_beside_its_controls(tmp_path):
    columns = {
        "word": ["a"] * 60,
        "tokens": [["a", "b"], ["a", "c"]] * 30,
        "position": [0] * 60,
        "sense": ["1", "2"] * 30,
    }
    for split in ("train", "test"):
        save(tmp_path / f"{split}.parquet", **columns)
    (tmp_path / "pairs.tsv").write_text("a\tb\t1\nc\td\t2\ne\tf\t3\ng\th\t4\n")
    context = lambda sentences, positions: static([[" ".join(words)] for words in sentences], [0] * len(positions))  # noqa: E731
    rows = meaning(
        context, {"input": static}, senses=str(tmp_path), similarity={"mine": str(tmp_path / "pairs.tsv")}, limit=50
    )
    by_name = {row.metric: row for row in rows}
    linear = by_name[LINEAR]
    assert (linear.score.value, linear.score.n) == (1, 50)
    assert linear.controls == {"input": 0.5, "majority": 0.5, "bag_of_words": 1, "bag_of_words_neighbours": 1}
    assert by_name["mine/spearman"].controls["input"] == by_name["mine/spearman"].score.value
    assert "bag of words neighbours 1.0000" in table(rows)
    assert "100% of pairs" in table(rows)
