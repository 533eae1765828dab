"""`ssl-lab export`: what another library makes of the files is what the run makes of the same items."""

import json
import re
import sys

import numpy as np
import pytest
import torch
from command import ssl_lab, started
from PIL import Image
from safetensors import safe_open
from test_evaluate import PRETRAIN, SMALL
from texts import ENGLISH
from transformers import AutoImageProcessor, AutoModel, AutoTokenizer

from ssl_lab import load
from ssl_lab.errors import UserError
from ssl_lab.export import huggingface  # noqa: F401  AutoModel knows it
from ssl_lab.runfolder.folder import read_config

SENTENCES = ["The import statement binds names.", "A module", ENGLISH[0][:900]]
IMAGES = [Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8) * i) for i in (1, 2, 3)]
TEXT = [
    "objective=mlm", "data=text_files", "data.path=*.txt", "views=mask_tokens", "backbone=text_tiny", "data.length=64",
    "data.batch_size=4", "data.tokenizer.size=600", "trainer.max_epochs=1", "protocol.items=4", "logger=none",
]  # fmt: skip


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("text")
    for i, document in enumerate(ENGLISH[:8]):
        (folder / f"{i}.txt").write_text(document)
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory, texts):
    images = ssl_lab("pretrain", *PRETRAIN, *SMALL, folder=tmp_path_factory.mktemp("images")).folder
    return {"images": (images, IMAGES), "text": (ssl_lab("pretrain", *TEXT, folder=texts).folder, SENTENCES)}


def export(run, how):
    run_it = started if how == "onnx" else ssl_lab  # torch.export gives lengths that are no int to checks of shapes
    return run_it("export", f"run={run}", f"format={how}", folder=run.parent).folder


@pytest.mark.parametrize("kind", ["images", "text"])
def test_this_package_loads_what_it_has_exported(runs, kind, tmp_path):
    run, items = runs[kind]
    folder = export(run, "safetensors")
    ours = load(run)
    moved = (folder / "model").rename(tmp_path / "moved")
    for place in (moved, export(run, "huggingface")):
        theirs = load(place)
        assert np.array_equal(theirs.embed(items), ours.embed(items))
        assert theirs.weights == ours.weights
    with safe_open(moved / "model.safetensors", "pt") as weights:  # no projector, which nothing needs any more
        parts = {name.split(".")[0] for name in weights.keys()}  # noqa: SIM118
    assert parts == ({"backbone", "head", "bias"} if kind == "text" else {"backbone"})
    assert {"README.md", "config.json", "model.safetensors"} <= {file.name for file in moved.iterdir()}
    if kind == "text":
        assert theirs.fill("The [MASK] statement.") == ours.fill("The [MASK] statement.")


def test_transformers_reads_text_as_the_run_does(runs):
    run, items = runs["text"]
    folder = export(run, "huggingface") / "model"
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    with torch.no_grad():
        found = model(**tokenizer(items[:2], padding=True, return_tensors="pt"))
    np.testing.assert_allclose(found.pooler_output, load(run).embed(items[:2]), atol=1e-6)
    assert found.last_hidden_state.shape[2] == found.pooler_output.shape[1]
    assert tokenizer.model_max_length == 64
    assert tokenizer.mask_token == "[MASK]"  # noqa: S105


def in_mode(image, mode):
    """The same picture in another mode of Pillow's, where it has transparency with some."""
    if mode == "I;16":
        return Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 200)
    image = image.convert("L" if mode == "LA" else "RGB").convert(mode)
    if mode in ("RGBA", "LA"):
        image.putalpha(Image.fromarray(np.tile(np.arange(image.width, dtype=np.uint8) * 12, (image.height, 1))))
    return image


@pytest.mark.parametrize("channels", [1, 3])
def test_transformers_prepares_images_as_the_run_does(tmp_path, channels):
    options = [
        *PRETRAIN[1:3],
        "trainer.max_steps=1",
        *SMALL,
        "backbone.widths=[8,16]",
        "data.size=20",
        "data.batch_size=8",
    ]
    rng = np.random.default_rng(0)
    (tmp_path / "photos").mkdir()
    for i in range(16):
        shape = (20, 20, 3) if channels == 3 else (20, 20)
        Image.fromarray(rng.integers(0, 256, shape, np.uint8)).save(tmp_path / f"photos/{i}.png")
    data = ["data=image_folder", "data.path=photos", f"data.channels={channels}", f"data.mean={[0.4] * channels}"]
    run = ssl_lab("pretrain", *data, f"data.std={[0.3] * channels}", *options, folder=tmp_path).folder
    folder = export(run, "huggingface") / "model"
    processor, model = AutoImageProcessor.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    photos = [Image.open(tmp_path / f"photos/{i}.png") for i in range(4)]
    photos += [one for mode in ("RGB", "L", "RGBA", "LA", "P", "1", "I;16") for one in [in_mode(photos[0], mode)]]
    turned = Image.fromarray(rng.integers(0, 256, (30, 44, 3), np.uint8))  # a photo that lies on its side
    turned.getexif()[0x0112] = 6
    photos.append(turned)
    with torch.no_grad():
        found = model(**processor(images=photos, return_tensors="pt")).pooler_output
    np.testing.assert_allclose(found, load(run).embed(photos), atol=1e-5)


def test_a_model_of_the_hub_stays_one(bert, texts):
    options = [one for one in TEXT if not one.startswith(("backbone", "data.tokenizer", "data.length"))]
    options += ["backbone=hub_text", f"backbone.name={bert}", "data.length=32"]
    run = ssl_lab("pretrain", *options, folder=texts).folder
    folder = export(run, "huggingface") / "model"
    ours = load(run)
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    assert type(model).__name__ == "BertModel"
    batch = tokenizer(SENTENCES[:2], padding=True, return_tensors="pt")
    with torch.no_grad():
        tokens = model(**batch).last_hidden_state
    weight = batch["attention_mask"][..., None].float()
    np.testing.assert_allclose((tokens * weight).sum(1) / weight.sum(1), ours.embed(SENTENCES[:2]), atol=1e-5)
    with pytest.raises(UserError, match=r"backbone=hub backbone\.name="):
        load(folder)
    done = ssl_lab(
        "evaluate",
        "backbone=hub_text",
        f"backbone.name={folder}",
        *TEXT[1:3],
        "meaning.wordnet=null",
        "logger=none",
        folder=texts,
    )
    assert "river_bank/auc" in done.err
    assert "perplexity" not in json.loads(
        (done.folder / "summary.json").read_text()
    )  # it was not trained to tell tokens
    card = ssl_lab("embed", "backbone=hub_text", f"backbone.name={folder}", *TEXT[1:3], folder=texts).folder
    assert (card / "embeddings" / "card.json").is_file()


@pytest.mark.parametrize("kind", ["images", "text"])
def test_the_python_of_the_card_gives_the_vectors_of_the_run(runs, kind):
    """onnxruntime without torch; other lengths and counts than the graph was traced with."""
    run, items = runs[kind]
    items = items[:2]
    folder = export(run, "onnx") / "model"
    card = (folder / "README.md").read_text()
    code = re.search(r"```python\n(.*?)```", card, re.DOTALL)[1].replace("FOLDER", str(folder))
    images = np.stack([np.asarray(item)[None] for item in items]) if kind == "images" else None
    names = {"images": images}
    exec(code.replace("ITEMS", repr(items)), names)  # noqa: S102
    np.testing.assert_allclose(names["vectors"], load(run).embed(items), atol=1e-4)


def test_the_card_has_the_scores_and_what_it_was_made_from(runs):
    run, _ = runs["images"]
    card = (export(run, "safetensors") / "model" / "README.md").read_text()
    knn = next(line for line in json.loads((run / "scores.json").read_text()) if line["metric"] == "knn")
    assert f"| knn/{knn['protocol']} | {knn['value']:.4f} [{knn['low']:.3f}, {knn['high']:.3f}] |" in card
    for text in (load(run).weights, "data_fingerprint", "SimCLR", "raw input", "images", "license:"):
        assert text in card


def test_an_export_names_no_place_and_no_account(texts, tmp_path):
    account = ["logger=wandb", "logger.wandb.project=somebody", "trainer.max_steps=1"]
    options = [option.replace("*.txt", str(texts)) for option in TEXT if not option.startswith("logger")]
    run = ssl_lab("pretrain", *options, *account, folder=tmp_path).folder
    folder = export(run, "safetensors")
    files = list((folder / "model").iterdir())
    assert len(files) == 4
    for file in files:
        assert not any(name.encode() in file.read_bytes() for name in (str(texts), str(tmp_path), "somebody")), file


def test_what_is_exported_names_only_what_is_allowed(runs, tmp_path):
    folder = export(runs["images"][0], "safetensors") / "model"
    config = json.loads((folder / "config.json").read_text())
    config["ssl_lab"]["backbone"]["_target_"] = "os.system"
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="not allowed"):
        load(folder)
    assert read_config(folder)["backbone"]["_target_"] == "os.system"


def test_weights_that_are_cut_off_are_said(runs):
    file = export(runs["images"][0], "safetensors") / "model" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(UserError, match=r"model\.safetensors is no whole safetensors file"):
        load(file.parent)


def test_a_missing_library_is_named_with_its_extra(runs, tmp_path, monkeypatch, capfd):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.delitem(sys.modules, "ssl_lab.export.onnx", raising=False)
    code, _, err = ssl_lab("export", f"run={runs['images'][0]}", "format=onnx", code=None)
    assert code == 1
    assert "format=onnx needs onnxruntime: pip install 'ssl-lab[onnx]'" in err


@pytest.mark.parametrize(
    ("options", "message", "code"),
    [
        (["run=nowhere"], "nowhere is no run folder", 1),
        (["run=RUN", "format=pickle"], "format=pickle: there are: huggingface, onnx, safetensors", 2),
    ],
)
def test_what_cannot_be_exported_is_said(runs, options, message, code, tmp_path):
    options = [option.replace("RUN", str(runs["images"][0])) for option in options]
    err = ssl_lab("export", *options, folder=tmp_path, code=code).err
    assert message in err
    assert not list(tmp_path.glob("runs/**/*"))
