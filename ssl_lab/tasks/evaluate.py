"""`ssl-lab evaluate`: a run or an embedding set → the score sheet, every score beside its controls."""

from dataclasses import replace
from functools import partial
from pathlib import Path

from omegaconf import DictConfig

from ssl_lab.config import plain
from ssl_lab.domains import Seed, Several, valid
from ssl_lab.embedding.embedding_set import EmbeddingSet
from ssl_lab.embedding.words import split_words
from ssl_lab.errors import UsageError
from ssl_lab.evaluation.controls import key, remembered
from ssl_lab.evaluation.corpus_vectors import of_words
from ssl_lab.evaluation.from_layers import senses_from_layers, words_from_layers
from ssl_lab.evaluation.lines import Line, beside, flat, of_vectors, table
from ssl_lab.evaluation.meaning import meaning
from ssl_lab.evaluation.meaning import table as meaning_table
from ssl_lab.evaluation.river_bank import river_bank
from ssl_lab.evaluation.river_bank import text as bank_table
from ssl_lab.evaluation.score_sheet import Scored, details, publish, score_sheet
from ssl_lab.evaluation.scores import say_left_out
from ssl_lab.evaluation.sheet import Protocol, sheet
from ssl_lab.evaluation.subject import vectors_of
from ssl_lab.hardware import quiet
from ssl_lab.logger import ended, loggers
from ssl_lab.model.base import Model
from ssl_lab.model.loading import resolve, untrained
from ssl_lab.model.standardized import standardized
from ssl_lab.progress import say
from ssl_lab.runfolder.chosen import NEWEST
from ssl_lab.runfolder.files import write_json
from ssl_lab.runfolder.folder import open_folder
from ssl_lab.runfolder.provenance import provenance

SAVINGS = (
    "the same linear probe took {seconds_vectors:.1f} s on cached vectors ({bytes_vectors:,.0f} bytes) and "
    "{seconds_raw:.1f} s on raw input ({bytes_raw:,.0f} bytes); through the backbone, each pass over raw input takes "
    "{seconds_embedding:.1f} s more"
)


def evaluate(config: DictConfig, folder: Path) -> None:
    """Prints the whole sheet; writes scores.json, details.json and summary.json."""
    quiet()
    if bool(config.embeddings) == (bool(config.run) or "backbone" in config):
        raise UsageError("choose run=FOLDER or embeddings=FOLDER, what an ssl-lab pretrain or embed has printed")
    if config.standardize and not config.run:
        raise UsageError("standardize=true is for a run of text, run=FOLDER: its training texts give the statistics")
    if config.embeddings and config.checkpoint != NEWEST:
        raise UsageError(f"checkpoint={config.checkpoint} is one of a run: run=FOLDER in the place of embeddings")
    valid(Several | None, config.rows, "rows")
    valid(Seed, config.seed, "seed")
    protocol = valid(Protocol, plain(config.protocol), "protocol")
    with ended():
        scored = (_of_set if config.embeddings else _of_model)(config, folder, protocol)
        publish(scored.lines, loggers(plain(config.logger), folder))
        write_json(folder / "summary.json", scored.summary)
        say(table(scored.lines, scored.cached))
    if "bytes_raw" in scored.summary:
        say(SAVINGS.format(**scored.summary))


def _of_set(config: DictConfig, folder: Path, protocol: Protocol) -> Scored:
    embeddings = EmbeddingSet(config.embeddings)
    open_folder(folder, plain(config), embeddings.card)
    vectors = vectors_of(embeddings, config.rows)
    made = sheet(vectors, protocol, config.seed)
    say_left_out(made.left_out)
    lines = beside(made.scores, {}, config.seed)
    write_json(folder / "scores.json", lines)
    write_json(folder / "details.json", details(vectors, made, embeddings.classes))
    say(f"the vectors alone know neither controls nor changed items: ssl-lab evaluate run={embeddings.card.get('run')}")
    return Scored(lines, flat(lines))


def _of_model(config: DictConfig, folder: Path, protocol: Protocol) -> Scored:
    model, resolved = resolve(plain(config))
    data = model.data
    open_folder(folder, resolved, {**model.source, **provenance(data)})
    before = untrained(model, config.seed)
    first = [*beside(model.held_out(), {}, config.seed), *_from_layers(config, model)]
    if config.standardize:
        model, before = (standardized(one, config.run) for one in (model, before))
    first += of_vectors(_meaning(config, model, before), model.backbone.protocol)
    scored = score_sheet(model, before, data, protocol, config.seed, folder, config.rows, first)
    return replace(scored, summary={**model.which, **scored.summary})


def _meaning(config: DictConfig, model: Model, before: Model) -> list[Line]:
    """What a model knows of words, where it has any."""
    if "words" not in model.backbone.gives:
        return []
    wordnet = config.meaning.wordnet if Path(config.meaning.wordnet or "").is_dir() else None
    if config.meaning.wordnet and not wordnet:
        say(
            f"no WordNet in {config.meaning.wordnet} (on Debian: apt-get install wordnet-base): its scores are left out"
        )
    facts = [before.weights, before.config["backbone"], before.config["views"], before.data.identity]
    similarity = {name: file for name, file in plain(config.meaning.similarity).items() if file}
    rows = meaning(
        model.embed_words,
        {
            "untrained": remembered(before.embed_words, key([before.backbone, before.views], *facts)),
            "input": partial(model.embed_words, contextual=False),
        },
        config.meaning.senses,
        similarity,
        wordnet,
    )
    say(f"{meaning_table(rows)}\n{bank_table(river_bank(model.embed_words))}")
    return [
        line | {"control_untrained": row.controls["untrained"], "control_raw": row.controls["input"]}
        for row in rows
        for line in beside({row.metric: row.score}, {}, config.seed)
    ]


def _from_layers(config: DictConfig, model: Model) -> list[Line]:
    """What its layers know of words and senses, beside SVD vectors of the training texts."""
    if not config.meaning.layers or "words" not in model.backbone.gives:
        return []
    texts = [split_words(text) for text in model.data.texts("train")]
    vectors = of_words(model.data, {word.lower() for words in texts for word in words}, model.width)
    similarity = {name: file for name, file in plain(config.meaning.similarity).items() if file}
    asked, senses = config.meaning, config.meaning.senses
    layers, gaps = model.embed_in_layers, partial(model.embed_in_layers, hidden=True)
    lines = words_from_layers(layers, gaps, vectors, texts, similarity, asked.wordnet, config.seed)
    return lines + (senses_from_layers(layers, vectors, senses, config.seed) if senses else [])
