"""A probe in the hands of others: the Python of its card gives what the probe gives, without this package."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from command import ssl_lab, started
from PIL import Image
from test_predict import UNTRAINED
from texts import ENGLISH

from ssl_lab import load

CPU = ["trainer=cpu"]
TAGGER = ["data=wnut17", "data.path=conll", "head=tagger", *CPU]
SENTENCES = ["The import statement binds names .", "A module is an object"]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory, bert):
    """With sentences in which the word after "the" is tagged, and a probe of each kind."""
    from transformers import ResNetConfig, ResNetModel

    folder = tmp_path_factory.mktemp("probes")
    all_words = re.findall(r"[a-z]+", " ".join(ENGLISH).lower())
    words = [all_words[i : i + 20] for i in range(0, 1600, 20)]
    (folder / "conll").mkdir()
    for split, some in (("train", words[:60]), ("test", words[60:80])):
        tagged = [[(w, "B-x" if i and s[i - 1] == "the" else "O") for i, w in enumerate(s)] for s in some]
        (folder / "conll" / f"{split}.conll").write_text(
            "\n\n".join("\n".join("\t".join(pair) for pair in one) for one in tagged) + "\n"
        )
        rows = "\n".join(f"{' '.join(s)}\t{i % 3}" for i, s in enumerate(some))
        (folder / f"{split}.tsv").write_text(f"text\tlabel\n{rows}\n")
    torch.manual_seed(0)
    config = ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic")
    ResNetModel(config).save_pretrained(folder / "resnet")
    return folder


def probe(workplace, *options):
    return ssl_lab("probe", *options, folder=workplace).folder


@pytest.fixture(scope="module")
def own(workplace):
    return probe(workplace, *UNTRAINED, "labels=60", "calibrate=true")


@pytest.fixture(scope="module")
def resnet(workplace):
    hub = ["backbone=hub", f"backbone.name={workplace / 'resnet'}", "backbone.pretrained=true"]
    for i in range(80):
        (folder := workplace / "photos" / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
        photos(i)[0].save(folder / f"{i}.png")
    return probe(workplace, *hub, "data=image_folder", "data.path=photos", "data.size=16", "calibrate=true", *CPU)


@pytest.fixture(scope="module")
def tagger(workplace, bert):
    return probe(workplace, *TAGGER, "backbone=hub_text", f"backbone.name={bert}", "data.length=32")


@pytest.fixture(scope="module")
def own_tagger(workplace):
    return probe(workplace, *TAGGER, "backbone=text_tiny", "data.tokenizer.size=300")


def exported(probe, how, workplace, run_it=ssl_lab):
    return run_it("export", f"run={probe}", f"format={how}", "name=mine", folder=workplace).folder / "model"


def code_of(folder):
    return re.search(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)[1].replace(
        "FOLDER", str(folder)
    )


def ran(folder, items):
    names = {"ITEMS": items}
    exec(code_of(folder), names)  # noqa: S102
    return names


def check(found, wanted):
    """What a pipeline gives of each item has the probabilities of the probe."""
    for row, item in zip(wanted.probabilities, found, strict=True):
        shares = {one["label"]: one["score"] for one in item}
        np.testing.assert_allclose([shares[name] for name in wanted.classes], row, atol=1e-5)


def photos(seed=0):
    draw = np.random.default_rng(seed)
    return [Image.fromarray(draw.integers(0, 255, (16, 16, 3), np.uint8)) for _ in range(3)]


def digits():
    return [photo.convert("L").resize((8, 8)) for photo in photos()]


def test_without_this_package_the_lines_of_the_card_give_what_the_probe_gives(workplace, resnet, tagger, tmp_path):
    files = [str(tmp_path / f"{i}.png") for i in range(3)]
    for image, file in zip(photos(), files, strict=True):
        image.save(file)
    given = [
        (exported(resnet, "huggingface", workplace), files),
        (exported(tagger, "huggingface", workplace), SENTENCES),
    ]
    lines = [(code_of(folder), items) for folder, items in given]
    code = f"import json, sys\nsys.modules['ssl_lab'] = None\nall = []\nfor code, ITEMS in {lines!r}:\n"
    code += "    exec(code)\n    all.append(predictions)\nprint(json.dumps(all, default=float))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    images, tagged = json.loads(done.stdout.splitlines()[-1])
    check(images, load(resnet).predict(files))
    for sentence, words in zip(load(tagger).tag(SENTENCES), tagged, strict=True):
        marked = [word.lower() for word, tag in sentence if tag != "O"]
        assert [one["word"] for one in words if one["entity_group"] == "x"] == marked
    assert any(words for words in tagged)
    for folder, _ in given:
        for file in folder.iterdir():
            assert not any(str(place).encode() in file.read_bytes() for place in (workplace, tmp_path)), file


def test_own_images_are_classified_by_a_pipeline(workplace, own):
    folder = exported(own, "huggingface", workplace)
    predictions, probe = ran(folder, digits())["predictions"], load(own)
    assert probe.card.temperature != 1
    wanted = probe.predict(digits())
    check(predictions, wanted)
    card = (folder / "README.md").read_text()
    assert "library_name: transformers" in card
    assert f"{json.loads((own / 'summary.json').read_text())['score']:.4f}" in card


def test_own_texts_are_classified_by_a_pipeline(workplace):
    data = ["data=text_table", "data.path=.", "data.tokenizer.size=300", "backbone=text_tiny", *CPU]
    made = probe(workplace, *data, "head=mlp")
    check(ran(exported(made, "huggingface", workplace), SENTENCES)["predictions"], load(made).predict(SENTENCES))


def test_onnx_gives_the_logits_of_each_token(workplace, own_tagger):
    names = ran(exported(own_tagger, "onnx", workplace, started), SENTENCES)
    model = load(own_tagger)
    (batch,) = model.data.prepare(SENTENCES)
    assert np.array_equal(names["tokens"], batch["tokens"])
    with torch.no_grad():
        wanted = model.head(model.backbone.tokens(model.views.plain(batch)["input"]))
    np.testing.assert_allclose(names["logits"], wanted, rtol=1e-4, atol=1e-4 * float(wanted.abs().max()))


def test_what_transformers_has_no_class_for_is_said(workplace, bert, resnet):
    data = ["data=text_table", "data.path=.", "backbone=hub_text", f"backbone.name={bert}", "data.length=32"]
    made = probe(workplace, *data, *CPU)
    text = "BertForSequenceClassification reads another vector than this probe"
    assert text in ssl_lab("export", f"run={made}", "format=huggingface", folder=workplace, code=2).err
    text = f"the architecture is described in {workplace / 'resnet'}, which others do not have"
    assert text in ssl_lab("export", f"run={resnet}", folder=workplace, code=1).err
