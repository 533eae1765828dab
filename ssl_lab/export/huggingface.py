"""A folder that `transformers` opens, after `import ssl_lab.export.huggingface`: `AutoModel`, and of a probe the class
of `AutoModelForImageClassification`, `…ForSequenceClassification` or `…ForTokenClassification`.

A model of the Hub, trained on, is written as `transformers` writes it, and needs no import.
"""

from pathlib import Path
from typing import Any

from PIL import Image
from transformers import PreTrainedTokenizerFast

from ssl_lab.backbone.hub import Hub, HubText
from ssl_lab.config import Config
from ssl_lab.data.tokenizer import SPECIAL, Tokenizer
from ssl_lab.errors import UsageError
from ssl_lab.export import weights
from ssl_lab.export.heads import scaled
from ssl_lab.export.native import native
from ssl_lab.export.registered import Preparation
from ssl_lab.model.base import Model
from ssl_lab.model.probe import Probe
from ssl_lab.runfolder.files import write_json

IMPORT = "import ssl_lab.export.huggingface  # pip install 'ssl-lab[hub]'\n"
TEXT = """\
from transformers import AutoModel, AutoTokenizer

tokenizer, model = AutoTokenizer.from_pretrained("FOLDER"), AutoModel.from_pretrained("FOLDER").eval()
batch = tokenizer(ITEMS, padding=True, return_tensors="pt")
model(**batch).{output}  # {shape}
"""
IMAGES = """\
from transformers import AutoImageProcessor, AutoModel

processor, model = AutoImageProcessor.from_pretrained("FOLDER"), AutoModel.from_pretrained("FOLDER").eval()
batch = processor(images=[...], return_tensors="pt")
model(**batch).{output}  # {shape}
"""


PIPELINES = {
    "image": """\
from transformers import pipeline

classify = pipeline("image-classification", model="FOLDER", top_k={k})
predictions = classify(ITEMS)
""",
    "tokens": """\
from transformers import pipeline

classify = pipeline("text-classification", model="FOLDER", top_k={k})
predictions = classify(ITEMS)
""",
}
TAGS = """\
from transformers import pipeline

tag = pipeline("token-classification", model="FOLDER", aggregation_strategy="first")
predictions = tag(ITEMS)  # of each word what its first piece says
"""


def write(model: Model, folder: Path) -> str:
    """Gives Python that uses what was written."""
    backbone: Any = model.backbone
    if foreign := isinstance(backbone, Hub | HubText):  # which transformers itself writes
        backbone.model.save_pretrained(folder)
    else:
        weights.write(model, folder)
    _write_input(model, folder, foreign)
    tokenizer = model.data.context.get("tokenizer")
    output, shape = "pooler_output", f"(2, {model.width})"
    if foreign and tokenizer:
        output, shape = "last_hidden_state", f"(2, t, {model.width}); its mean over a text's tokens is the text's"
    return ("" if foreign else IMPORT) + (TEXT if tokenizer else IMAGES).format(output=output, shape=shape)


def write_probe(model: Probe, folder: Path) -> str:
    """Gives Python that uses what was written. Raises UsageError where `transformers` has no class for it."""
    backbone: Any = model.backbone
    if foreign := isinstance(backbone, Hub | HubText):
        native(model).save_pretrained(folder)
    else:
        nets = {"backbone": model.backbone, "head": scaled(model)}
        weights.save({f"{part}.{k}": v for part, net in nets.items() for k, v in net.state_dict().items()}, folder)
        weights.describe_probe(model, folder)
    _write_input(model, folder, foreign)
    lines = TAGS if model.head.problem.of_words else PIPELINES[model.data.key].format(k=len(model.card.classes))
    return lines if foreign else IMPORT + lines


def _write_input(model: Model, folder: Path, foreign: bool) -> None:
    """What prepares its input."""
    if tokenizer := model.data.context.get("tokenizer"):
        _fast(tokenizer, model.backbone.length).save_pretrained(folder)
    else:
        made = _preparation(model.config["data"]) if foreign else _own_preparation(model.config["data"])
        write_json(folder / "preprocessor_config.json", made)


def _fast(tokenizer: Tokenizer, length: int) -> PreTrainedTokenizerFast:
    names = dict(zip(("pad", "unk", "cls", "sep", "mask"), SPECIAL, strict=True))
    known = {
        f"{name}_token": token for name, token in names.items() if tokenizer.backend.token_to_id(token) is not None
    }
    known |= {"pad_token": tokenizer.word(tokenizer.pad), "mask_token": tokenizer.word(tokenizer.mask)}
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer.backend, model_max_length=length,
        model_input_names=["input_ids", "attention_mask"], **known,
    )  # fmt: skip


def _own_preparation(data: Config) -> dict[str, Any]:
    kept = {key: data[key] for key in ("channels", "mean", "std")}
    others = {"side": data["size"], "background": data.get("background", 255), "value_range": data.get("range")}
    others["bits"] = data.get("bits", 8)
    return {"image_processor_type": Preparation.__name__, **kept, **others}


def _preparation(data: Config) -> dict[str, Any]:
    """Of transformers itself: the shorter side resized, the middle cut out, then normalised.

    Raises UsageError for grey images, which it has nothing for.
    """
    if data["channels"] != 3:
        raise UsageError("transformers prepares no grey images for this model: take format=safetensors, or format=onnx")
    return {
        "image_processor_type": "BitImageProcessor",
        "do_resize": True,
        "size": {"shortest_edge": data["size"]},
        "resample": int(Image.Resampling.BILINEAR),
        "do_center_crop": True,
        "crop_size": {"height": data["size"], "width": data["size"]},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(data["mean"]),
        "image_std": list(data["std"]),
        "do_convert_rgb": True,
    }
