"""Entities against seqeval, Viterbi against every path, the reader of CoNLL columns against real and broken files."""

from itertools import product
from pathlib import Path

import numpy as np
import pytest
from seqeval.metrics import f1_score, precision_score, recall_score
from seqeval.metrics.sequence_labeling import get_entities

from ssl_lab.data.conll import read_conll
from ssl_lab.data.corpora import Conll
from ssl_lab.errors import UserError
from ssl_lab.evaluation.spans import allowed, span_f1, span_scores, spans, viterbi

WNUT = Path(__file__).parents[2] / "shared" / "data" / "wnut17"
TAGS = ["O", "B-place", "I-place", "B-person", "I-person"]


def sentences(n, seed):
    draw = np.random.default_rng(seed)
    return [[TAGS[i] for i in draw.integers(0, 5, draw.integers(1, 12))] for _ in range(n)]


def test_spans_are_seqevals_even_where_bio_is_broken():
    for tags in sentences(500, 0):
        assert spans(tags) == {(name, first, last + 1) for name, first, last in get_entities(tags)}


def test_scores_are_seqevals():
    truth = sentences(200, 1)
    draw = np.random.default_rng(2)
    predicted = [[tag if draw.random() < 0.8 else TAGS[draw.integers(5)] for tag in tags] for tags in truth]
    ours = span_scores(truth, predicted)
    for average, names in ((None, ["person", "place"]), ("micro", ["overall"])):
        theirs = [score(truth, predicted, average=average) for score in (precision_score, recall_score, f1_score)]
        got = np.array([[ours[name].precision, ours[name].recall, ours[name].f1] for name in names]).T
        assert got == pytest.approx(np.reshape(theirs, (3, -1)))
    score = span_f1(truth, predicted)
    assert score.value == ours["overall"].f1
    assert score.low < score.value < score.high
    assert score.n == ours["overall"].n == sum(len(spans(tags)) for tags in truth)
    assert span_f1(truth, truth).low == 1


def test_no_entities_are_no_error():
    assert span_f1([["O"], ["O", "O"]], [["O"], ["O", "O"]]).value == 0
    with pytest.raises(ValueError, match="sentence 0 has 2 tags in truth and 1"):
        span_f1([["O", "O"]], [["O"]])


def test_viterbi_finds_the_best_of_all_allowed_paths():
    start, step = allowed(TAGS)
    for seed in range(20):
        scores = np.random.default_rng(seed).standard_normal((4, 5))
        paths = {
            path: sum(scores[t, tag] for t, tag in enumerate(path)) for path in product(range(5), repeat=4)
            if all(tag % 2 or not tag or (t and path[t - 1] in (tag - 1, tag)) for t, tag in enumerate(path))
        }  # fmt: skip
        assert tuple(viterbi(scores, start, step)) == max(paths, key=paths.get)
    assert viterbi(scores[:1], start, step).shape == (1,)


@pytest.mark.skipif(not WNUT.is_dir(), reason="needs ../shared/data/wnut17")
def test_wnut_is_read_whole():
    """The test set has 1,287 sentences and 1,079 entities (Derczynski et al. 2017, table 2)."""
    tokens, tags = read_conll(WNUT / "test.conll")
    assert len(tokens) == len(tags) == 1287
    assert sum(len(spans(each)) for each in tags) == 1079
    assert all(len(words) == len(each) for words, each in zip(tokens, tags, strict=True))


def test_sentences_are_parted_by_empty_lines(tmp_path):
    file = tmp_path / "x.conll"
    file.write_bytes("\n\na\tB-x\nb\tI-x\n\t\r\n\nc\u2028d\tO".encode())
    assert read_conll(file) == ([["a", "b"], ["c\u2028d"]], [["B-x", "I-x"], ["O"]])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a\tO\nb\tI-x\n", "line 2: I-x follows O: an entity begins with B-x"),
        ("a\tB-y\nb\tI-x\n", "line 2: I-x follows B-y"),
        ("a\tB-x\n\nb\tI-x\n", "line 3: I-x follows O"),
        ("a\tE-x\n", "line 1: expected token<TAB>O, B-type or I-type"),
        ("a\tB-\n", "line 1: expected"),
        ("a O\n", "line 1: expected .*, found 'a O'"),
        ("a\tNN\tO\n", "line 1: expected"),
    ],
)
def test_bad_columns_are_named_by_line(tmp_path, text, says):
    file = tmp_path / "x.conll"
    file.write_text(text)
    with pytest.raises(UserError, match=says):
        read_conll(file)
    with pytest.raises(UserError, match="could not be read"):
        read_conll(tmp_path / "nowhere")


@pytest.mark.parametrize("second", ["New York\tB-x\n", "New\tB-x\nYork\tO\n"])
def test_words_and_tags_that_were_corrected_are_other_data(second, tmp_path):
    """The text is the same: where its words end, and their tags, are kept in caches by the identity."""
    identities = []
    for content in ("New\tB-x\nYork\tI-x\n", second):
        (tmp_path / "train.conll").write_text(content)
        identities.append(Conll(None, str(tmp_path)).splits()["train"].identity)
    assert identities[0] != identities[1]
