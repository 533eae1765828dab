"""`ssl-lab fill`: a masked language model predicts the hidden words of a text."""

from pathlib import Path

from omegaconf import DictConfig

from ssl_lab.config import plain
from ssl_lab.domains import Count, valid
from ssl_lab.model.loading import load_model
from ssl_lab.progress import say
from ssl_lab.runfolder.files import write_json
from ssl_lab.runfolder.folder import open_folder


def fill(config: DictConfig, folder: Path) -> None:
    """Prints the likeliest words at each [MASK], and keeps them in summary.json."""
    valid(Count, config.k, "k")
    model = load_model(config.run, config.checkpoint)
    likeliest = model.fill(config.text, config.k)
    open_folder(folder, plain(config), {**model.source, "weights": model.weights})
    say(config.text)
    for number, words in enumerate(likeliest, 1):
        say(f"[MASK] {number}" if len(likeliest) > 1 else "[MASK]")
        for word, share in words:
            say(f"  {share:6.1%}  {word}")
    summary = {"text": config.text, "words": [[{"word": w, "probability": p} for w, p in words] for words in likeliest]}
    write_json(folder / "summary.json", summary)
