"""What is said of embeddings, each claim in a line: its score, its controls, its interval, and whether it is shown.

    scripts/claims DATA [--quick] [--folder FOLDER]

DATA has the folders cifar10, brown, movie_reviews, sst2, wnut17, word_senses, words and spoken_digits; Fashion-MNIST is
where `ssl-lab pretrain` finds it. Three seeds, or one with --quick. Every training and every evaluation is a step. In
FOLDER, steps.json has the folders of those that are done and claims.json what they have shown, so that the same command
goes on where it was stopped: a claim that stands in claims.json is not measured again, even where the runs are gone.
scripts/bench/claims.json is that of the table in the README.

A claim is shown where the run is above every control: for one seed by the 95 % interval of its score (of a probe: of
the paired margin), for several by Student's interval of the margins over the best control. Nothing else decides.
"""

import argparse
import json
import math
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from ssl_lab.evaluation.scores import mean
from ssl_lab.progress import say

SSL_LAB = str(Path(sys.executable).with_name("ssl-lab"))
SEEDS = (0, 1, 2)
FEW = (50, 100, 300)


@dataclass(frozen=True)
class Found:
    """A value, the best control with its name, and whether the one is above the other by the interval of this seed."""

    value: float
    control: float
    name: str
    above: bool


@dataclass(frozen=True)
class Claim:
    """`of` reads what it says from the folder of the step of a seed."""

    text: str
    step: str
    of: Callable[[Path], Found]


def steps(data: Path, seed: int) -> dict[str, list[str]]:
    """The commands, in their order; {name} is the folder of an earlier one."""
    text = f"data.path=[{data / 'brown'},{data / 'movie_reviews'}]"
    words = {name: next((data / "words").glob(f"{name}*")) for name in ("simlex999", "wordsim353")}
    rated = [f"meaning.similarity.{name}={file}" for name, file in words.items()]
    quiet, senses = [f"seed={seed}", "logger=none"], f"meaning.senses={data / 'word_senses'}"
    labels = ",".join(map(str, [*FEW, 1000]))
    full, few = ["evaluate", "protocol=full", *quiet], ["rows=60", "protocol.items=100"]  # of whole documents
    made = {
        "cifar10": ["pretrain", "data=cifar10", f"data.path={data / 'cifar10'}", "trainer.max_epochs=12", *quiet],
        "cifar10_full": [*full, "run={cifar10}"],
        "fashion": ["pretrain", *quiet],
        "fashion_full": [*full, "run={fashion}"],
        "digits": ["pretrain", "recipe=simclr_spoken_digits", f"data.path={data / 'spoken_digits'}", *quiet],
        "digits_full": [*full, "run={digits}"],
        "digits_speakers": [*full, "run={digits}", "data.group=speaker"],
        "text": ["pretrain", "recipe=mlm_brown", text, *quiet],
        "words": ["evaluate", "run={text}", "meaning.layers=true", senses, *rated, *few, *quiet],
        "start": ["pretrain", "recipe=mlm_brown", text, "trainer.max_steps=1", "optimizer.lr=0", *quiet],  # SVD vectors
        "sst2": ["probe", "run={text}", "data=sst2", f"data.path={data / 'sst2'}", f"labels=[{labels},all]",
                 "beside={start}", "seeds=10"],
        "wnut17": ["probe", "run={text}", "data=wnut17", f"data.path={data / 'wnut17'}", "head=tagger",
                   f"labels=[{labels}]", "seeds=10"],
    }  # fmt: skip
    return {name: [*command, f"name=claims_{name}_{seed}"] for name, command in made.items()}


def score(metric: str) -> Callable[[Path], Found]:
    """The first line of scores.json whose metric it is, beside the better of its controls."""

    def of(folder: Path) -> Found:
        lines = json.loads((folder / "scores.json").read_text())
        line = next(line for line in lines if line["metric"] == metric)
        controls = {
            name: line[f"control_{name}"] for name in ("untrained", "raw") if line[f"control_{name}"] is not None
        }
        name, control = max(controls.items(), key=lambda item: item[1])
        return Found(line["value"], control, name, line["low"] > control)

    return of


def above_within(metric: str, other: str) -> Callable[[Path], Found]:
    """One score of a run above another of the same run: the second stands as the control."""

    def of(folder: Path) -> Found:
        lines = {line["metric"]: line for line in reversed(json.loads((folder / "scores.json").read_text()))}
        one, two = lines[metric], lines[other]
        return Found(one["value"], two["value"], other, one["low"] > two["high"])

    return of


def curve(labels: int) -> Callable[[Path], Found]:
    """A probe with so many labels, beside the best of its controls, by the paired margin."""

    def of(folder: Path) -> Found:
        points = json.loads((folder / "curve.json").read_text())
        rows = [p for p in points["points"] if p["labels"] == labels and p["metric"] == points["metric"]]
        own = next(p for p in rows if p["subject"] == "own")
        best = max((p for p in rows if p["subject"] != "own"), key=lambda p: p["mean"])
        name = {"beside": "SVD vectors", "control": points["control"]}.get(best["subject"], best["subject"])
        return Found(own["mean"], best["mean"], name, best["margin_low"] > 0)

    return of


def cheaper(folder: Path) -> Found:
    """Seconds of the linear probe on raw input and on vectors: how many times less."""
    summary = json.loads((folder / "summary.json").read_text())
    times = summary["seconds_raw"] / summary["seconds_vectors"]
    return Found(times, 1.0, "raw input", times > 1)


VIEWS = "two views of an image are nearer to each other than to others"
KEPT = "what a probe knows is kept when items are"
CLAIMS = [
    Claim(f"{VIEWS} (CIFAR-10)", "cifar10_full", score("invariance_views")),
    Claim(f"{KEPT} recoloured (CIFAR-10)", "cifar10_full", score("kept_linear_colour")),
    Claim(f"{KEPT} without colours (CIFAR-10)", "cifar10_full", score("kept_linear_grey")),
    Claim(f"{KEPT} recoloured (Fashion-MNIST)", "fashion_full", score("kept_linear_colour")),
    Claim(
        "… recoloured, and not when patches are shuffled (CIFAR-10)",
        "cifar10_full",
        above_within("kept_linear_colour", "kept_linear_shuffle"),
    ),
    Claim(
        "… recoloured, and not when patches are shuffled (Fashion-MNIST)",
        "fashion_full",
        above_within("kept_linear_colour", "kept_linear_shuffle"),
    ),
    Claim(f"{KEPT} spoken by others (spoken digits)", "digits_speakers", score("kept_linear_other_groups")),
    Claim(f"{KEPT} noisy (spoken digits)", "digits_full", score("kept_linear_noise")),
    Claim("frozen vectors serve classification (CIFAR-10, linear)", "cifar10_full", score("linear")),
    Claim("… with ten labels a class (CIFAR-10)", "cifar10_full", score("few_label_10")),
    Claim("… of sounds (spoken digits, linear)", "digits_full", score("linear")),
    Claim("… clustering (Fashion-MNIST, NMI)", "fashion_full", score("nmi")),
    Claim("… and retrieval (CIFAR-10, mAP)", "cifar10_full", score("map")),
    Claim("a word's vector depends on its context (senses of four words)", "words", score("sense_in_layers")),
    Claim("… river bank and bank account", "words", score("river_bank")),
    Claim("similar words are near (WordSim-353)", "words", score("wordsim353_in_text")),
    Claim("… (SimLex-999)", "words", score("simlex999_in_text")),
    Claim("synonyms are near (WordNet)", "words", score("wordnet_synonyms_in_text")),
    *(Claim(f"sentiment with {n} labels (SST-2)", "sst2", curve(n)) for n in FEW),
    *(Claim(f"named entities with {n:,} sentences (WNUT-17)", "wnut17", curve(n)) for n in (*FEW, 1000)),
    Claim("a linear probe takes less time on vectors than on pixels (CIFAR-10, times)", "cifar10_full", cheaper),
]


def needed(commands: dict[str, list[str]], claims: list[Claim]) -> list[str]:
    """The steps of these claims and what they stand on, in their order."""
    wanted = {claim.step for claim in claims}
    for name in reversed(commands):
        if name in wanted:
            wanted |= {other for other in commands if f"{{{other}}}" in " ".join(commands[name])}
    return [name for name in commands if name in wanted]


def run(name: str, command: list[str]) -> str:
    """The run folder of a step."""
    say(f"{name}: ssl-lab {' '.join(command)}")
    start = time.monotonic()
    made = subprocess.run([SSL_LAB, *command], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    if made.returncode:
        sys.exit(f"{name} failed: ssl-lab {' '.join(command)}")
    say(f"{name}: {time.monotonic() - start:.0f} s")
    return str(Path(made.stdout.strip().splitlines()[-1]).resolve())


def row(claim: Claim, found: list[Found]) -> str:
    """Of the seeds that are measured."""
    if not found:
        return f"| {claim.text} | not measured | | | |"
    margins = mean(torch.tensor([one.value - one.control for one in found]), (-math.inf, math.inf))
    shown = margins.low > 0 if len(found) > 1 else found[0].above
    between = f" [{margins.low:+.3f}, {margins.high:+.3f}]" if len(found) > 1 else ""
    values, controls = (
        ", ".join(f"{x:.3f}" for x in some) for some in zip(*((f.value, f.control) for f in found), strict=True)
    )
    names, verdict = (
        ", ".join(dict.fromkeys(f.name.replace("_", " ") for f in found)),
        "shown" if shown else "not shown",
    )
    return f"| {claim.text} | {values} | {controls} ({names}) | {margins.value:+.3f}{between} | {verdict} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--folder", type=Path, default=Path("claims"))
    given = parser.parse_args()
    seeds = SEEDS[:1] if given.quick else SEEDS
    given.folder.mkdir(exist_ok=True)
    done, shown = Kept(given.folder / "steps.json"), Kept(given.folder / "claims.json")
    for seed in seeds:
        commands = steps(given.data.resolve(), seed)
        missing = [claim for claim in CLAIMS if f"{claim.text}, seed {seed}" not in shown]
        for name in needed(commands, missing):
            places = {other: done[f"{other}_{seed}"] for other in commands if f"{other}_{seed}" in done}
            step = f"{name}_{seed}"
            if not Path(done.get(step, ""), "summary.json").is_file():
                done.keep(
                    {step: run(step, [part.format(**places) if "{" in part else part for part in commands[name]])}
                )
            of_step = [claim for claim in missing if claim.step == name]
            shown.keep({f"{one.text}, seed {seed}": asdict(one.of(Path(done[step]))) for one in of_step})
    table = "\n".join([*HEAD, *(row(claim, measured(claim, shown)) for claim in CLAIMS)])
    (given.folder / "claims.md").write_text(table + "\n")
    print(table)


HEAD = ["| claim | score | best control | margin | |", "|---|---|---|---|---|"]


def measured(claim: Claim, shown: dict[str, Any]) -> list[Found]:
    return [Found(**shown[key]) for seed in SEEDS if (key := f"{claim.text}, seed {seed}") in shown]


class Kept(dict[str, Any]):
    """What stands in a JSON file."""

    def __init__(self, file: Path):
        super().__init__(json.loads(file.read_text()) if file.is_file() else {})
        self.file = file

    def keep(self, more: dict[str, Any]) -> None:
        self.update(more)
        self.file.write_text(json.dumps(self, indent=1) + "\n")


if __name__ == "__main__":
    main()
