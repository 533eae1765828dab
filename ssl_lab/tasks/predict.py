"""`ssl-lab predict`: a probe and new items → their labels, and how near they are to what it has learnt."""

from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from ssl_lab.config import plain
from ssl_lab.embedding.embedded import embedded_by_all, planned
from ssl_lab.errors import UsageError, UserError, one_of
from ssl_lab.hardware import quiet
from ssl_lab.launched import is_first
from ssl_lab.model.loading import give_data, is_probe, load_probe
from ssl_lab.model.probe import CARD, Probe
from ssl_lab.probing.prediction import FAR, FILE, OUTPUTS, Output, predict_items, predict_tags
from ssl_lab.progress import say
from ssl_lab.runfolder.files import write_json
from ssl_lab.runfolder.folder import open_folder
from ssl_lab.runfolder.provenance import provenance

TOP = 5  # classes that are printed for a text


def predict(config: DictConfig, folder: Path) -> None:
    """Writes predictions.parquet (csv, conll) and summary.json; of one text, the summary alone."""
    quiet()
    output, options = one_of("output", config.output, OUTPUTS), plain(config)
    if not is_probe(config.run):
        raise UserError(f"{config.run} is no probe: it has no {CARD} (ssl-lab probe run=… head=linear makes one)")
    if (config.text is None) == ("data" not in config):
        raise UsageError("choose what is to be predicted: data.path=FOLDER (or data=…), or a text")
    probe = load_probe(Path(config.run))
    if probe.card.calibrated:
        how = f"fitted to {probe.card.calibrated:,} labels, each by a head that did not know it"
        say(f"probabilities are those of logits over a temperature of {probe.card.temperature:.3g}, {how}")
    if config.text is not None:
        summary = _of_text(probe, config.text)
        open_folder(folder, options, {"run": probe.run, "weights": probe.weights})
    else:
        give_data(probe, options["data"])
        probe.data.open_all()
        if is_first():
            open_folder(folder, {**options, "data": probe.config["data"]}, provenance(probe.data))
        summary = _of_data(probe, folder, config, output)
    if summary:
        write_json(folder / "summary.json", summary)


def _of_data(probe: Probe, folder: Path, config: DictConfig, output: Output) -> dict[str, Any]:
    """The summary; nothing in all processes but the first."""
    data = probe.data
    if probe.head.problem.of_words:
        file = folder / f"{FILE}.conll"
        summary = predict_tags(probe, data, file)
        say(f"{summary['rows']:,} sentences of {summary['words']:,} words: {file}")
        return summary
    plan = planned(probe, data, shard_rows=config.shard_rows, trainer=plain(config.trainer))
    if (embeddings := embedded_by_all(plan)) is None:
        return {}
    file = folder / f"{FILE}.{output}"
    summary = predict_items(probe, data, embeddings, file, output)
    far = f"{summary['far']:,} of them farther from the training items than {FAR:.0%} of these are from each other"
    say(f"{summary['rows']:,} items, {far}: {file}")
    if summary["learnt"]:
        say(f"{summary['learnt']:,} of them are what the head was fitted to, and are left out of scores")
    if "labelled" in summary:
        ends = f"[{summary['accuracy_low']:.4f}, {summary['accuracy_high']:.4f}]"
        what = f"accuracy {summary['accuracy']:.4f} {ends}, calibration error {summary['calibration_error']:.4f}"
        say(f"of the {summary['labelled']:,} items with a label that the probe knows: {what}")
    return summary


def _of_text(probe: Probe, text: str) -> dict[str, Any]:
    if probe.data.key != "tokens":
        raise UsageError(f"the probe reads {probe.data.unit}, and not text: data.path=FOLDER has some")
    if probe.head.problem.of_words:
        (tagged,) = probe.tag([text])
        say("\n".join(f"{word}\t{tag}" for word, tag in tagged))
        return {"text": text, "tags": [list(pair) for pair in tagged]}
    made = probe.predict([text])
    likeliest = sorted(zip(made.probabilities[0].tolist(), made.classes, strict=True), reverse=True)
    for share, name in likeliest[:TOP]:
        say(f"{share:6.1%}  {name}")
    near = f"{made.nearest[0]} ({made.nearest_label[0]}), similarity {made.similarity[0]:.3f}"
    say(f"nearest training item: {near}; farther from all than {made.far[0]:.1%} of them are from each other")
    nearest = {"nearest": made.nearest[0], "similarity": float(made.similarity[0]), "far": float(made.far[0])}
    return {"text": text, "label": made.labels[0], **nearest, "probabilities": {name: p for p, name in likeliest}}
