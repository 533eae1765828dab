"""Images from every source end as the same batches, and what is bad is said in one line."""

import gzip
import io
import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from command import ssl_lab
from PIL import Image, ImageOps

from ssl_lab import load
from ssl_lab.data import decoding
from ssl_lab.data.base import Source
from ssl_lab.data.images import EncodedRows, Images
from ssl_lab.data.order import Batches, EpochOrder
from ssl_lab.data.pixels import Form
from ssl_lab.data.sources import Digits, FashionMNIST, HuggingFace, ImageSplit
from ssl_lab.errors import UserError
from ssl_lab.randomness import Draw
from ssl_lab.views.images import ImageViews

DEFAULTS = {
    "name": None, "path": None, "size": 16, "channels": 3, "batch_size": 4, "seed": 0,
    "train": "train", "bank": "train", "test": None, "holdout": 0.25, "max_bad": 0, "memory_gb": 16.0, "workers": 0,
}  # fmt: skip


def images(source=HuggingFace, **options):
    chosen = DEFAULTS | {key: str(v) if key == "path" else v for key, v in options.items()}
    data = Images(source, mean=[0.5] * chosen["channels"], std=[0.5] * chosen["channels"], **chosen)
    data.setup()
    return data


def picture(seed, width=20, height=16):
    pixels = np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@pytest.fixture
def folder(tmp_path):
    """Two classes of six PNG files, of unequal sizes."""
    for name in ("cats", "dogs"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for i in range(6):
            picture(i, width=16 + 4 * i).save(tmp_path / "pets" / name / f"{i}.png")
    return tmp_path / "pets"


@pytest.fixture
def parquet(tmp_path):
    """Ten images in Parquet, with a text label and columns of other names."""
    import datasets

    (tmp_path / "set").mkdir()
    buffers = []
    for i in range(10):
        buffers.append(io.BytesIO())
        picture(i).save(buffers[-1], "PNG")
    rows = {"photo": [{"bytes": b.getvalue(), "path": None} for b in buffers], "kind": ["b", "a"] * 5}
    features = datasets.Features({"photo": datasets.Image(), "kind": datasets.Value("string")})
    for split in ("train", "test"):
        datasets.Dataset.from_dict(rows, features).to_parquet(str(tmp_path / "set" / f"{split}-00000.parquet"))
    return tmp_path / "set"


def test_a_folder_gives_labels_and_holds_out_a_share(folder):
    data = images(path=folder)
    assert data.classes == ["cats", "dogs"]
    assert {role: len(rows) for role, rows in data.rows.items()} == {"train": 9, "bank": 9, "test": 3}
    seen = torch.cat([batch["index"] for role in ("bank", "test") for batch in data.loader(role)])
    assert sorted(seen.tolist()) == list(range(12))
    batch = next(iter(data.loader("test")))
    assert batch["image"].shape == (3, 3, 16, 16)
    assert torch.equal(batch["label"], data.labels("test"))


def test_unequal_images_are_resized_and_cut_to_the_middle(folder):
    data = images(path=folder)
    stored = Image.open(folder / "cats" / "3.png")  # 28 × 16: only the middle 16 columns stay
    expected = np.asarray(stored)[:, 6:22].transpose(2, 0, 1)
    assert (data.rows["bank"].images == torch.from_numpy(expected.copy())).all(3).all(2).all(1).any()


def test_a_flat_folder_has_no_labels_but_rows_to_be_scored_on_and_the_names_of_its_files(tmp_path):
    for i in range(5):
        picture(i).save(tmp_path / f"{i}.png")
    data = images(path=tmp_path, batch_size=3)
    assert not data.labelled
    assert (data.rows["train"].index.tolist(), data.rows["test"].index.tolist()) == ([1, 2, 3], [0, 4])
    assert set(next(iter(data.train_dataloader()))) == {"image", "index"}
    assert [Path(name).name for name in data.rows["train"].columns["file"]] == [f"{i}.png" for i in range(5)]


@pytest.mark.parametrize(
    ("splits", "test", "chosen"),
    [
        ({"train": True, "validation": True, "test": True}, None, "test"),
        ({"train": True, "validation": True, "test": False}, None, "validation"),  # the Hub hides labels of some
        ({"train": True, "validation": False, "test": False}, None, "holdout"),
        ({"train": False, "dev": True, "test": False}, None, "dev"),
        ({"train": False, "validation": False}, None, "validation"),
        ({"train": False, "extra": False}, None, "holdout"),
        ({"train": True, "test": True}, "holdout", "holdout"),
        ({"train": True, "test": False}, "test", "test"),  # what is named is taken
    ],
)
def test_rows_to_be_scored_on_are_those_named_or_the_first_that_have_labels(splits, test, chosen, capfd):
    class Made(Source):
        def __init__(self, name, path):
            pass

        def splits(self):
            pixels = torch.zeros(12, 1, 4, 4, dtype=torch.uint8)
            labels = torch.arange(12)
            return {name: ImageSplit(pixels, identity=name, labels=labels if known else None)
                    for name, known in splits.items()}  # fmt: skip

    data = images(Made, size=4, channels=1, test=test, bank="train")
    assert data.splits["test"] == chosen
    rows = data.rows["test"]
    assert len(rows) == (3 if chosen == "holdout" else 12)
    where = "every 4th row of 'train'" if chosen == "holdout" else f"the split '{chosen}'"
    known = "labelled" if rows.labels is not None else "unlabelled"
    assert f"scores are taken on {where}, {len(rows)} {known} rows" in capfd.readouterr().err


def test_columns_can_be_named_and_text_labels_are_numbered(parquet):
    source = lambda name, path: HuggingFace(name, path, image="photo", label="kind")  # noqa: E731
    data = images(source, path=parquet)
    assert data.classes == ["a", "b"]
    assert data.labels("test").tolist() == [1, 0] * 5
    assert images(lambda n, p: HuggingFace(n, p, label=None), path=parquet).rows["train"].labels is None


def test_pixels_are_pillows(parquet):
    rows = images(path=parquet, size=16).rows["train"]
    expected = np.asarray(picture(3))[:, 2:18].transpose(2, 0, 1)
    assert torch.equal(rows.images[3], torch.from_numpy(expected.copy()))


def test_decoded_images_are_kept_and_found_again(folder, monkeypatch):
    first = images(path=folder)
    monkeypatch.setattr(decoding, "decode", None)  # would fail if called
    second = images(path=folder)
    assert torch.equal(first.rows["bank"].images, second.rows["bank"].images)
    assert first.fingerprint == second.fingerprint


def test_a_changed_file_is_decoded_again(folder):
    before = images(path=folder).fingerprint
    picture(99).save(folder / "cats" / "0.png")
    assert images(path=folder).fingerprint != before


def test_a_set_that_does_not_fit_gives_the_same_batches(folder):
    small, large = images(path=folder), images(path=folder, memory_gb=0.0, workers=2)
    assert isinstance(large.rows["train"], EncodedRows)
    for a, b in zip(small.train_dataloader(), large.train_dataloader(), strict=True):
        assert all(torch.equal(a[key], b[key]) for key in a)


def test_digits_and_idx_files(tmp_path):
    data = images(Digits, size=8, channels=1)
    assert (len(data.rows["train"]), len(data.rows["test"])) == (1438, 359)
    x, y = np.random.default_rng(0).integers(0, 255, (7, 28, 28), dtype=np.uint8), np.arange(7, dtype=np.uint8)
    for prefix in ("train", "t10k"):
        for name, values in ((f"{prefix}-images-idx3-ubyte.gz", x), (f"{prefix}-labels-idx1-ubyte.gz", y)):
            header = bytes([0, 0, 8, values.ndim]) + b"".join(n.to_bytes(4, "big") for n in values.shape)
            (tmp_path / name).write_bytes(gzip.compress(header + values.tobytes()))
    rows = images(FashionMNIST, path=tmp_path, size=28, channels=1).rows["test"]
    assert torch.equal(rows.images[:, 0], torch.from_numpy(x))
    assert rows.labels.tolist() == list(range(7))
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(b"cut off")
    with pytest.raises(UserError, match="no whole IDX file"):
        images(FashionMNIST, path=tmp_path)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P", "1", "CMYK", "I;16"])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_mode_of_pillow_becomes_grey_or_rgb(mode, channels, tmp_path):
    if mode == "I;16":
        image = Image.fromarray(np.full((8, 8), 200 * 256 + 7, np.uint16))
    else:
        image = Image.new("RGB", (8, 8), (200, 200, 200)).convert(mode)
    image.save(tmp_path / "x.tif")
    pixels = decoding.decode({"bytes": (tmp_path / "x.tif").read_bytes()}, Form(8, channels)).pixels
    assert pixels.shape == (channels, 8, 8)
    assert abs(int(pixels.mean()) - (255 if mode == "1" else 200)) <= (60 if mode == "1" else 3)


def test_a_photo_is_turned_upright(tmp_path):
    image = Image.fromarray(np.repeat([[0, 255]], 8, 0).repeat(4, 1).astype(np.uint8))  # left black, right white
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned by 90° clockwise
    image.save(tmp_path / "x.jpg", exif=exif)
    pixels = decoding.decode({"path": str(tmp_path / "x.jpg")}, Form(8, 1)).pixels[0]
    assert pixels[0].mean() < 50
    assert pixels[-1].mean() > 200


def test_what_is_transparent_lies_on_a_background(tmp_path, capfd):
    """Black strokes on nothing: without the background, all is black."""
    folder = tmp_path / "strokes"
    folder.mkdir()
    for i, mode in enumerate(("RGBA", "LA", "P")):
        alpha = Image.fromarray(np.repeat([[0, 255]], 8, 0).repeat(4, 1).astype(np.uint8))  # nothing, a stroke
        image = Image.new("RGBA", (8, 8))
        image.putalpha(alpha)
        image.convert(mode).save(folder / f"{i}.png", **({"transparency": 0} if mode == "P" else {}))
    Image.new("RGBA", (8, 8), (90, 90, 90, 255)).save(folder / "solid.png")
    for background in (255, 60):
        pixels = images(path=folder, size=8, channels=1, background=background, holdout=0).rows["train"].images
        assert pixels[:2, 0, :, 0].unique().tolist() == [background]
        assert pixels[:2, 0, :, -1].unique().tolist() == [0]
        assert pixels[3].unique().tolist() == [90]
        said = f"3 images are transparent in places: on a grey of {background} (data.background)"
        assert said in capfd.readouterr().err
    images(path=folder, size=8, channels=1, memory_gb=0.0)
    assert "3 images of 4 that were looked at are transparent in places" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("values", "range", "expected"),
    [
        (np.array([[0, 0.5], [1, 0.25]], np.float32), None, [0, 128, 255, 64]),  # fractions were all black
        (np.array([[-100, 0], [100, 300]], np.float32), [-100, 100], [0, 128, 255, 255]),
        (np.array([[0, 1000], [2000, 4000]], np.int32), [0, 4000], [0, 64, 128, 255]),
        (np.array([[0, 65535], [32768, 257]], np.uint16), None, [0, 255, 128, 1]),
        (np.array([[0, 4095], [2048, 16]], np.uint16), [0, 4095], [0, 255, 128, 1]),  # 12 bits were nearly black
    ],
)
def test_values_of_more_than_8_bits_are_scaled_by_their_range(values, range, expected, tmp_path):
    Image.fromarray(values).save(tmp_path / "x.tif")
    form = Form(2, 1, range=range and tuple(range))
    assert decoding.decode({"path": tmp_path / "x.tif"}, form).pixels.ravel().tolist() == expected


@pytest.mark.parametrize("size", [4, 2])
def test_16_bits_are_kept_where_they_are_asked_for(size, tmp_path):
    folder = tmp_path / "wide"
    folder.mkdir()
    values = np.arange(16, dtype=np.uint16).reshape(4, 4) * 4000 + 7
    Image.fromarray(values).save(folder / "x.png")
    np.save(folder / "x.npy", values)
    Image.fromarray((values // 257).astype(np.uint8)).save(folder / "8.png")
    form = Form(size, 1, bits=16)
    expected = (
        values
        if size == 4
        else np.rint(np.asarray(ImageOps.fit(Image.fromarray(values.astype(np.float32)), (2, 2), 2)))
    )
    for name in ("x.png", "x.npy"):
        made = decoding.decode({"path": str(folder / name)}, form).pixels
        assert made.dtype == np.uint16
        np.testing.assert_allclose(made[0], expected, atol=0 if size == 4 else 1)
    coarse = decoding.decode({"path": str(folder / "8.png")}, Form(4, 1, bits=16)).pixels
    np.testing.assert_array_equal(coarse[0], values // 257 * 257)
    both = [images(path=folder, size=4, channels=1, bits=bits, holdout=0).rows["train"] for bits in (8, 16)]
    views = ImageViews([0.5], [0.5])
    fine, coarse = (views.plain(rows[torch.arange(3)])["input"] for rows in reversed(both))
    torch.testing.assert_close(fine, coarse, atol=2 / 255, rtol=0)
    for name, change in views.perturbations.items():
        changed = change.apply(both[1][torch.arange(3)], change.strengths[0], Draw(0, 0))["image"]
        assert changed.dtype == torch.uint16, name


def test_values_whose_range_is_not_known_are_refused_or_said(tmp_path, capfd):
    for name, values in {"count": np.full((4, 4), 900, np.int32), "twelve": np.full((4, 4), 4095, np.uint16)}.items():
        (tmp_path / name).mkdir()
        for i in range(3):
            Image.fromarray(values).save(tmp_path / name / f"{i}.tif")
    with pytest.raises(UserError, match=r"its values go from 900 to 900: data.range=\[LOW,HIGH\] says which are black"):
        images(path=tmp_path / "count", size=4, channels=1)
    images(path=tmp_path / "twelve", size=4, channels=1)
    assert "the brightest pixel of all has 6.2% of the range of values" in capfd.readouterr().err
    assert images(path=tmp_path / "twelve", size=4, channels=1, range=[0, 4095]).rows["train"].images.min() == 255
    assert "brightest" not in capfd.readouterr().err


@pytest.mark.parametrize("kind", ["first.npy", "last.npy", "tif"])
def test_arrays_of_any_number_of_channels_train_and_are_scored(kind, tmp_path):
    """As of a satellite: five bands of 12 bits."""
    rng = np.random.default_rng(0)
    values = rng.integers(0, 4096, (12, 16, 16, 5), dtype=np.uint16)
    for i, one in enumerate(values):
        (tmp_path / "bands" / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
        file = tmp_path / "bands" / "ab"[i % 2] / f"{i:02}.{kind[-3:]}"
        if kind == "tif":
            tifffile.imwrite(file, one, planarconfig="contig", photometric="minisblack")
        else:
            np.save(file, one.transpose(2, 0, 1) if kind == "first.npy" else one)
    bits = 16 if kind == "tif" else 8
    data = [
        "data=image_folder", f"data.path={tmp_path}/bands", "data.size=16", "data.channels=5", "data.range=[0,4095]",
        f"data.bits={bits}",
        f"data.mean={[0.5] * 5}", f"data.std={[0.3] * 5}",
    ]  # fmt: skip
    done = ssl_lab("pretrain", *data, "backbone.widths=[4]", "debug=one_batch", "data.batch_size=4", "logger=none")
    assert "images of 5 channels have no colours: changes of colour are left out" in done.err
    summary = json.loads((done.folder / "summary.json").read_text())
    assert "invariance_colour" not in summary
    assert "invariance_crop" in summary
    model = load(str(done.folder))
    vectors = model.embed(list(values))
    assert vectors.shape == (12, 4)
    np.testing.assert_allclose(
        vectors, model.embed(sorted((tmp_path / "bands").rglob("*.*"), key=lambda one: one.name))
    )
    (batch,) = model.data.prepare([values[0]])
    expected = np.rint((2**bits - 1) * values[0].astype(np.float64) / 4095).transpose(2, 0, 1)
    np.testing.assert_allclose(batch["image"][0].float(), expected, atol=bits == 16)  # float32 on the way
    with pytest.raises(UserError, match=r"an image of 5 channels is an array of them: its shape is \(16, 16, 4\)"):
        model.embed([values[0][..., :4]])
    found = ssl_lab("search", f"collection={ssl_lab('embed', f'run={done.folder}').folder}", "query.id=1", "k=2")
    assert (found.folder / "hits.html").read_text().count("base64") == 2


@pytest.mark.parametrize("world", [1, 2, 4])
def test_an_epoch_is_every_row_once_shared_by_the_processes(world):
    orders = [EpochOrder(103, 20, seed=1, rank=rank, world=world) for rank in range(world)]
    for epoch in (0, 1):
        for order in orders:
            order.set_epoch(epoch)
        batches = [torch.cat(parts) for parts in zip(*orders, strict=True)]
        assert [len(batch) for batch in batches] == [20] * 5
        assert len(torch.cat(batches).unique()) == 100
        one = EpochOrder(103, 20, seed=1)
        one.set_epoch(epoch)
        assert all(torch.equal(a, b) for a, b in zip(batches, one, strict=True))


def test_epochs_and_seeds_differ():
    firsts = []
    for seed, epoch in [(0, 0), (0, 1), (1, 0)]:
        order = EpochOrder(100, 50, seed)
        order.set_epoch(epoch)
        firsts.append(tuple(next(iter(order)).tolist()))
    assert len(set(firsts)) == 3


def test_a_loader_goes_on_where_it_stopped():
    class Items(torch.utils.data.Dataset):
        def __getitem__(self, rows):
            return {"index": rows}

    whole = [batch["index"] for batch in Batches(Items(), EpochOrder(40, 8, seed=0))]
    stopped = Batches(Items(), EpochOrder(40, 8, seed=0))
    for _, batch in zip(range(2), stopped, strict=False):
        last = batch["index"]
    resumed = Batches(Items(), EpochOrder(40, 8, seed=0))
    resumed.load_state_dict(stopped.state_dict())
    rest = [batch["index"] for batch in resumed]
    assert torch.equal(last, whole[1])
    assert all(torch.equal(a, b) for a, b in zip(rest, whole[2:], strict=True))
    assert len([*resumed]) == 5  # the next epoch is a whole one
    list(stopped)
    assert stopped.state_dict() == {"done": 0}


def test_bad_files_are_named_counted_and_left_out(folder, capsys):
    (folder / "cats" / "0.png").write_bytes(b"no image")
    whole = (folder / "dogs" / "1.png").read_bytes()
    (folder / "dogs" / "1.png").write_bytes(whole[: len(whole) // 2])
    (folder / "cats" / "1.png").unlink()
    picture(6).save(folder / "dogs" / "6.png")
    with pytest.raises(UserError, match=r"2 of 12 images could not be decoded(.|\n)*0\.png(.|\n)*data\.max_bad=2"):
        images(path=folder)
    data = images(path=folder, max_bad=2)
    assert len(data.rows["bank"]) + len(data.rows["test"]) == 10
    assert "they are left out" in capsys.readouterr().err
    truth = torch.zeros(10, dtype=torch.long)
    truth[4:] = 1  # four cats, six dogs: the labels moved with their images
    assert torch.equal(data.rows["bank"].labels, truth)
    with pytest.raises(UserError):  # the count is in the cache too
        images(path=folder)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"path": "nowhere"}, "there is no nowhere"),
        ({"path": "empty"}, "empty is empty: there is no file in it"),
        (
            {"path": "texts"},
            r"there are no images in \S*texts, which has 2 .txt, 1 .heic: names of images end in .av",
        ),
        ({"path": "texts/a.txt"}, "a.txt is a file; give a folder"),
        ({}, "data.path is not set: give a folder of images"),
        ({"source": lambda name, path: HuggingFace(name, path, where="ask the ward")}, "is not set: ask the ward$"),
        ({"name": "no/such-set"}, "'no/such-set' could not be read from the Hugging Face Hub"),
        ({"path": "pets", "bank": "labelled"}, "data.bank: no split 'labelled'"),
    ],
)
def test_what_is_wrong_is_said(folder, options, message):
    (folder.parent / "empty").mkdir()
    (folder.parent / "texts").mkdir()
    for name in ("a.txt", "b.TXT", "c.heic"):
        (folder.parent / "texts" / name).write_text("x")
    with pytest.raises(UserError, match=message):
        images(**options)


def test_a_batch_larger_than_the_data_is_said(folder):
    with pytest.raises(UserError, match=r"data\.batch_size=100 is larger than the 9 training rows"):
        images(path=folder, batch_size=100).train_dataloader()


def test_a_missing_column_lists_those_there_are(parquet):
    with pytest.raises(UserError, match=r"no column 'species'.*kind, photo"):
        images(lambda name, path: HuggingFace(name, path, label="species"), path=parquet)


def test_an_interrupted_decoding_leaves_nothing_that_looks_whole(folder, monkeypatch, tmp_path):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(decoding, "_decode_part", interrupted)
    with pytest.raises(KeyboardInterrupt):
        images(path=folder)
    assert not list((tmp_path / "cache" / "images").iterdir())


def test_a_full_disk_is_said(folder, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(UserError, match="No space left on device; free some space"):
        images(path=folder)
