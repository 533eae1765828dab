"""What people look at: nothing that comes from data steers a page or a terminal, and it is the item that was found."""

import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from PIL import Image
from test_config import composed

from ssl_lab.callbacks.look import GAP, grid
from ssl_lab.data.tokenizer import trained
from ssl_lab.embedding.embedded import embedded
from ssl_lab.model.loading import build_model
from ssl_lab.preview import ImagePreview, TextPreview, item, page
from ssl_lab.randomness import Draw
from ssl_lab.vectors import hits
from ssl_lab.vectors.base import Hit
from ssl_lab.vectors.exact import Exact
from ssl_lab.views.mask_tokens import MaskTokens
from ssl_lab.views.two_crops import TwoCrops

EVIL = "<script>alert(1)</script>\x1b[2J\n\"'><img src=x onerror=alert(2)>"


class Tags(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))


def test_what_comes_from_data_stays_text_on_a_page_and_in_a_line():
    text = page(EVIL, item(TextPreview(EVIL).html, EVIL), "")
    assert [tag for tag, _ in Tags(text).found] == [
        "html", "head", "meta", "meta", "meta", "link", "title", "style", "body", "h1", "div", "q",
        "span",
    ]  # fmt: skip
    assert TextPreview(EVIL).line == "<script>alert(1)</script> [2J \"'><img src=x onerror=alert(2)>"
    assert len(TextPreview("word " * 100).line) <= 90


def test_a_page_fetches_nothing_and_runs_no_script_but_its_own():
    for script in ("", "1 + 1"):
        (policy,) = [a["content"] for _, a in Tags(page("x", "", "", script=script)).found if "http-equiv" in a]
        rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
        assert rules["default-src"] == "'none'"
        assert rules["img-src"] == rules["media-src"] == "data:"
        assert ("script-src" in rules) == bool(script)


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_small_image_is_on_the_page_to_the_bit(mode):
    pixels = np.random.default_rng(0).integers(0, 256, (8, 9, 3) if mode == "RGB" else (8, 9), np.uint8)
    encoded = re.search(r"base64,([^\"]*)", ImagePreview(Image.fromarray(pixels)).html)[1]
    with Image.open(io.BytesIO(base64.b64decode(encoded))) as image:
        assert np.array_equal(np.asarray(image.convert(mode)), pixels)


def test_views_show_their_pictures_below_the_plain_ones():
    augment = dict.fromkeys(("flip", "rotation", "jitter", "brightness", "contrast", "saturation", "hue", "grey"), 0.0)
    augment |= {"blur": 0.0, "blur_kernel": 0.1, "blur_sigma": (0.1, 2.0), "solarize": 1.0}
    augment |= {"area": (1.0, 1.0), "ratio": (1.0, 1.0)}
    views = TwoCrops(
        8, [0.3], [0.2], {**augment, "solarize": 0.0}, second={"solarize": 1.0}, local={"count": 1, "size": 4}
    )
    images = torch.randint(256, (3, 1, 8, 8), dtype=torch.uint8)
    rows = views.preview(views({"image": images}, Draw(0, 0)))
    plain, same, inverted, small = ([np.asarray(one.picture) for one in row] for row in rows)
    assert np.array_equal(plain, images[:, 0])
    assert np.abs(np.subtract(same, plain, dtype=int)).max() <= 1
    bright = np.array(plain) >= 128
    assert np.abs(np.array(inverted, int) - np.where(bright, 255 - np.array(plain), plain)).max() <= 1
    assert small[0].shape == (4, 4)
    whole = np.asarray(grid([[one.picture for one in row] for row in rows]))
    assert whole.shape == (4 * (96 + GAP), 3 * (96 + GAP), 3)  # each pixel of 8 x 8 is 12 x 12 here
    assert np.array_equal(whole[:96, 100:196][::12, ::12, 0], plain[1])


def test_masked_texts_show_what_is_hidden_and_not_what_frames_them():
    tokenizer = trained(lambda: ["the river bank and the bank account"] * 5, "wordpiece", 40, True, True)
    views = MaskTokens(tokenizer, rate=0.5, mask=1.0, random=0.0, whole_words=False)
    tokens = tokenizer.padded([tokenizer.framed(ids) for ids in tokenizer.encode(["the river bank", "account"])])
    plain, masked = views.preview(views({"tokens": tokens}, Draw(0, 0)))
    assert [one.text for one in plain] == ["the river bank", "account"]
    assert masked[0].text.count("[MASK]") == round(0.5 * len(tokenizer.encode(["the river bank"])[0]))


def test_a_hit_shows_the_very_item_and_reads_no_other(tmp_path, monkeypatch):
    """Of a folder without labels in which a file is bad, so that rows, ids and numbers of files all differ."""
    (tmp_path / "photos").mkdir()
    for i in range(20):
        Image.new("L", (8, 8), 10 * i).save(tmp_path / "photos" / f"{i:02}.png")
    (tmp_path / "photos" / "03.png").write_bytes(b"no image")
    options = {"path": tmp_path / "photos", "size": 8, "channels": 1, "mean": "[0.5]", "std": "[0.25]", "max_bad": 1}
    options |= {"test": "holdout", "holdout": 0.25}
    config = composed("data=image_folder", *(f"data.{name}={value}" for name, value in options.items()))
    model = build_model(config)
    model.data.setup()
    store = Exact()
    store.fill(embedded(model, model.data))
    monkeypatch.setattr("ssl_lab.data.base.Data.setup", lambda *_: pytest.fail("everything is read"))
    (found,) = store.search(store.vectors[:1], len(store))
    shown = hits.items(found)
    assert len(shown) == 19
    for hit, preview in zip(found, shown, strict=True):
        number = int(hit.columns["file"][-6:-4])
        assert preview.picture.getpixel((0, 0)) == (10 * number,) * 3
        assert hit.columns["row"] == number
        assert (hit.columns["split"] == "holdout") == ((number - (number > 3)) % 4 == 0)


def test_items_that_have_changed_since_are_not_shown(capfd):
    card = {"key": "a", "config": {"data": composed("data=digits")["data"]}, "stored": {"train": "another"}}
    assert hits.items([Hit(0, 1.0, {"split": "train", "row": 0}, card)]) == [None]
    assert "1 of the 1 items cannot be shown: they have changed since they were embedded" in capfd.readouterr().err


def test_the_page_of_hits_escapes_names_of_classes(tmp_path):
    found = [Hit(0, 0.5, {"label": 0}, {"classes": [EVIL]})]
    hits.write(tmp_path / "hits.html", EVIL, TextPreview(EVIL), found, [None])
    tags = [tag for tag, _ in Tags((tmp_path / "hits.html").read_text()).found]
    assert "script" not in tags
    assert "img" not in tags
