"""One row a part: what tests have to know of it beside its yaml. A new part is one file, one yaml and one row here."""

import math
from dataclasses import dataclass
from pydoc_data.topics import topics

import numpy as np
import pandas
import soundfile

ITEMS = 6  # in the batches of the tests of objectives


@dataclass(frozen=True)
class Part:
    """`needs`: what has to be chosen besides so that `ssl-lab pretrain` takes it; PATH has texts and sounds."""

    needs: tuple[str, ...] = ()

    def overrides(self, folder):
        """In `folder` these are written."""
        for name in ("a", "b"):
            (folder / f"{name}.txt").write_text(topics["import"])
        for seed in range(4):
            soundfile.write(folder / f"{seed}.wav", np.random.default_rng(seed).uniform(-0.5, 0.5, 16_000), 16_000)
        pandas.DataFrame({"text": [topics["import"]] * 2}).to_parquet(folder / "train.parquet")
        return [value.replace("PATH", str(folder)) for value in self.needs]


@dataclass(frozen=True)
class Objective(Part):
    """`needs` makes it small, too. `collapsed`: its loss for `ITEMS` items when the net tells nothing apart.

    `student`: the name of the net that its teacher follows, with momentum 0.9, where it has one.
    """

    collapsed: float = math.nan
    student: str = ""


IMAGES = ("data=digits", "backbone.widths=[4,8]")
FILES = ("data.path=PATH", "data.tokenizer.size=300")
TEXT = Part(("objective=mlm", "backbone=text_tiny", *FILES))
TEXT_NET = Part(("data=text_files", "objective=mlm", *FILES))

OBJECTIVES = {
    "byol": Objective((*IMAGES, "objective.projector=[16,8]", "objective.predictor=[16,8]", "objective.momentum=0.9"),
                      collapsed=0.0, student="student"),
    "mlm": Objective(("data=text_files", "data.source.document=paragraph", "data.length=16", "data.validation=0.1",
                      "backbone=text_tiny", "backbone.width=32", "backbone.depth=2", "backbone.hidden=32", *FILES),
                     collapsed=math.log(300)),
    "mocov3": Objective((*IMAGES, "objective.projector=[16,8]", "objective.predictor=[16,8]", "objective.momentum=0.9"),
                        collapsed=4 * 0.2 * math.log(ITEMS), student="student"),
    "simclr": Objective((*IMAGES, "objective.hidden=16", "objective.output=8", "objective.temperature=0.5"),
                        collapsed=math.log(2 * ITEMS - 1)),
    "vicreg": Objective((*IMAGES, "objective.expander=[16,16,8]", "optimizer.lr=0.01"), collapsed=25 * 2 * 0.99),
}  # fmt: skip

AUDIO = ("data=audio_folder", "data.path=PATH", "data.statistics=[-8,3]", "data.seconds=1")
SOUND = Part((*AUDIO, "backbone=audio_small", "backbone.widths=[4,8]"))

PARTS: dict[str, dict[str, Part]] = {
    "backbone": {
        "audio_small": Part(AUDIO),
        "audio_transformer": Part(AUDIO),
        "convnet": Part(),
        "hub": Part(("backbone.name=x",)),
        "hub_audio": Part(("backbone.name=x", *AUDIO, "views=audio_waves")),
        "hub_text": Part(("backbone.name=x", *TEXT_NET.needs)),
        "resnet18": Part(),
        "resnet50": Part(),
        "text_base": TEXT_NET,
        "text_small": TEXT_NET,
        "text_tiny": TEXT_NET,
        "vit_small": Part(),
        "vit_tiny": Part(),
    },
    "callbacks": {"default": Part(), "word_vectors": Part()},
    "data": {
        "audio_folder": SOUND,
        "brown": TEXT,
        "chest_xray": Part(("data.path=x",)),
        "cifar10": Part(),
        "cifar100": Part(),
        "digits": Part(),
        "fashion_mnist": Part(),
        "hub": Part(("data.name=x",)),
        "hub_text": TEXT,
        "image_folder": Part(("data.path=x",)),
        "imagenette": Part(),
        "spoken_digits": SOUND,
        "sst2": TEXT,
        "stl10": Part(),
        "text_files": TEXT,
        "text_table": TEXT,
        "wnut17": TEXT,
    },
    "head": {"linear": Part(), "mlp": Part(), "tagger": Part()},
    "logger": dict.fromkeys(("csv", "mlflow", "none", "tensorboard", "trackio", "wandb"), Part()),
    "objective": {**OBJECTIVES},
    "optimizer": {"adamw": Part(), "lars": Part(), "muon": Part(), "sgd": Part()},
    "schedule": {"constant": Part(), "cosine": Part()},
    "vectors": dict.fromkeys(("auto", "exact", "flat", "hnsw", "ivf"), Part(("embeddings=x",))),
    "views": {
        "audio_byola": SOUND,
        "audio_crops": SOUND,
        "audio_segments": SOUND,
        "audio_waves": Part((*AUDIO, "backbone=hub_audio", "backbone.name=x")),
        "grey_crops": Part(),
        "mask_tokens": Part(("data=text_files", *TEXT.needs)),
        "text_pairs": Part(("data=text_files", "data.pack=false", "objective=simclr", *TEXT.needs[1:])),
        "two_crops": Part(),
        "xray_crops": Part(),
    },
}
