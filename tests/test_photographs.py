"""Images that keep their shapes: decoded as Pillow does, the same from memory and from workers, and seen whole."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from sklearn.datasets import load_sample_images
from test_data import images
from test_views import ON

from ssl_lab.data.base import ROW
from ssl_lab.data.images import EncodedRows, WholeRows
from ssl_lab.data.pixels import Form, decode
from ssl_lab.randomness import Draw
from ssl_lab.views import compiled
from ssl_lab.views.shown import shown
from ssl_lab.views.two_crops import TwoCrops

FLOWER = Image.fromarray(load_sample_images().images[1])
SIZES = [(100, 75), (75, 100), (64, 64), (200, 30), (20, 24), (90, 31)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Photographs of unequal sizes, the last of them cut off."""
    folder = tmp_path_factory.mktemp("photographs")
    for number, size in enumerate(SIZES):
        FLOWER.resize(size).save(folder / f"{number}.{'png' if number == 1 else 'jpg'}", quality=90)
    whole = (folder / "0.jpg").read_bytes()
    (folder / "2.jpg").write_bytes(whole[: len(whole) // 2])
    return folder


def whole(path, **options):
    options = {"max_bad": 1, "holdout": 0.0, "size": 16, "crop_from": 16, "batch_size": 5} | options
    return images(path=path, **options)


def test_whole_images_are_pillows_halved_as_long_as_the_shorter_side_is_large_enough(folder):
    rows = whole(folder).training()
    assert isinstance(rows, WholeRows)
    batch = rows[torch.arange(5)]
    assert batch["extent"].tolist() == [[19, 25], [25, 19], [30, 60], [24, 20], [31, 62]]
    assert batch["image"].shape == (5, 3, 31, 62)
    names = [Path(rows.columns["file"][number]).name for number in range(5)]
    for name, image, (height, width) in zip(names, batch["image"], batch["extent"].tolist(), strict=True):
        with Image.open(folder / name) as stored:
            times = 2 ** int(np.log2(max(1, min(stored.size) // 16)))
            stored.draft("RGB", (stored.width // times, stored.height // times))
            expected = stored if stored.format == "JPEG" else stored.reduce(times)
            expected = np.asarray(ImageOps.fit(expected, (width, height), Image.Resampling.NEAREST))
        assert np.array_equal(image[:, :height, :width], expected.transpose(2, 0, 1)), name
        assert not image[:, height:].any()
        assert not image[:, :, width:].any()


def test_workers_give_the_batches_that_memory_gives(folder):
    (folder / "2.jpg").rename(folder / "2.broken")
    kept, read = whole(folder), whole(folder, memory_gb=0.0, workers=2)
    (folder / "2.broken").rename(folder / "2.jpg")
    assert isinstance(read.training(), EncodedRows)
    for a, b in zip(kept.train_dataloader(), read.train_dataloader(), strict=True):
        assert all(torch.equal(a[key], b[key]) for key in a)
    assert read.rows["train"][torch.arange(2)]["image"].shape == (2, 3, 16, 16)  # what is scored is square


def test_rows_that_are_learnt_from_are_those_of_the_squares(folder):
    """Though a file is bad, and some rows are held out."""
    data = whole(folder, holdout=0.5, batch_size=2)
    batch = next(iter(data.train_dataloader()))
    bank = data.rows["bank"]
    for number, image, extent in zip(batch["index"], batch["image"], batch["extent"].tolist(), strict=True):
        file = bank.columns["file"][number]
        expected = decode({"path": file}, Form(16, 3, square=False)).pixels
        assert np.array_equal(image[:, : extent[0], : extent[1]], expected)
        assert bank.columns[ROW][number] == int(Path(file).stem)


@pytest.mark.parametrize("channels", [1, 3, 5])
@pytest.mark.parametrize("bits", [8, 16])
def test_arrays_and_other_depths_keep_their_shapes_too(tmp_path, channels, bits):
    values = np.random.default_rng(0).integers(0, 2**bits, (40, 50, channels)).astype(f"uint{bits}")
    np.save(tmp_path / "x.npy", values)
    made = decode({"path": str(tmp_path / "x.npy")}, Form(10, channels, bits=bits, square=False)).pixels
    assert made.shape == (channels, 10, 13)
    mean = values[:40, :48].reshape(10, 4, 12, 4, channels).mean((1, 3)).transpose(2, 0, 1)
    np.testing.assert_allclose(made[:, :, :12], mean, atol=0.6)


@pytest.mark.parametrize("compiling", [True, False])
def test_views_of_padded_images_are_those_of_each_alone(compiling, folder, monkeypatch):
    batch = whole(folder).training()[torch.arange(5)]
    if not compiling:
        monkeypatch.setattr(compiled, "kernel", lambda pixels: None)
    views = TwoCrops(24, [0.5] * 3, [0.2] * 3, ON, local={"count": 1, "size": 8})
    made = views(batch, Draw(0, 0))
    drawn = [a.draw(batch["extent"], 5, 24, draw) for draw in [Draw(0, 0)] for a in views.pair]
    assert (drawn[0].boxes[:, :2] + drawn[0].boxes[:, 2:] <= batch["extent"]).all()
    for i, (height, width) in enumerate(batch["extent"].tolist()):
        alone = shown(
            batch["image"][i : i + 1, :, :height, :width], [one.of(i) for one in drawn], views.mean, views.std
        )
        torch.testing.assert_close(made["views"][:, i], alone[:, 0], atol=1e-4, rtol=0)
    batch["image"][0, :, 19:] = batch["image"][0, :, :, 25:] = 255  # beyond its extent: it is not looked at
    torch.testing.assert_close(views(batch, Draw(0, 0))["local"], made["local"])
    first = views.preview(made)[0]
    assert [one.picture.size for one in first] == [(24, 18), (18, 24), (24, 12), (20, 24), (24, 12)]
