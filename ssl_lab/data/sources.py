"""Where images come from: the Hugging Face Hub, local Parquet files, a folder, or files of a package.

A source gives its splits by name. What is stored as files (JPEG, PNG …) stays encoded; `decoding` turns it into pixels.
"""

import glob
import gzip
import hashlib
import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path, PurePath
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow.compute as pc
import torch
from jaxtyping import UInt8
from torch import Tensor

from ssl_lab.data import labels, tables
from ssl_lab.data.base import Source, Split, Stored
from ssl_lab.data.columns import Table, words
from ssl_lab.data.files import EncodedFiles, Frames, RemoteFiles
from ssl_lab.data.folders import read_folder
from ssl_lab.data.labels import numbered
from ssl_lab.data.patients import Patients, patients
from ssl_lab.data.pixels import Form, is_dicom, pillow, thumbnail
from ssl_lab.data.remote import PATIENCE, is_url, read_remote
from ssl_lab.data.tree import Files, Tree, read_tree
from ssl_lab.domains import NotNegative
from ssl_lab.errors import UserError, first_line, nearest
from ssl_lab.preview import ImagePreview
from ssl_lab.progress import say

SUFFIXES = (
    ".avif", ".bmp", ".dcm", ".gif", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".npy", ".pbm", ".pgm", ".png", ".pnm",
    ".ppm", ".tif", ".tiff", ".webp",
)  # fmt: skip
"""of images in a folder, in small or large letters"""

LARGEST_IDX = 2**30  # bytes; MNIST and its kin have 47 million


@dataclass(frozen=True)
class ImageSplit(Stored):
    """Images as pixels, uint8 (n, c, h, w), or still encoded: rows whose `image` has bytes and path.

    `private`: DICOM files are among them, so their paths are shown to nobody. `form`: how they are read.
    """

    images: Any
    private: bool = False
    form: Form | None = None

    def __post_init__(self) -> None:
        if self.labels is not None and len(self.labels) != len(self):
            raise UserError(f"there are {len(self):,} images and {len(self.labels):,} labels: a file is cut off")

    def __len__(self) -> int:
        return len(self.images)

    def preview(self, row: int) -> ImagePreview:
        stored = self.images[row]
        return ImagePreview(pillow(stored) if isinstance(stored, Tensor) else thumbnail(stored["image"], self.form))


class Encoded(Source[Split]):
    """What `datasets.load_dataset` reads: a Hub `name`, or a local `path` of Parquet files; or else a folder of files.

    `item` and `label` name the columns; "auto" takes the first column of items and of class labels, and a `label` of
    None ignores labels. Class labels are numbers or texts. `splits`: whether the folders in `path` are splits, or
    classes, where their names could be both. `metadata`: a CSV file in `path` that has the labels of items, by the
    columns `file_name` (from there) and `label`. `where`: of a set that is not on the Hub, what to fetch, where from,
    and in what form `path` takes it. Of a folder far away, `patience`: how many seconds a server that does not answer
    is waited for, and `relist`: whether its files are listed anew.
    """

    key: ClassVar[str]
    """the column that the items have here"""

    kind: ClassVar[str]
    suffixes: ClassVar[Sequence[str]]
    """what files of items are called, and how their names end, in small letters"""

    def __init__(
        self,
        name: str | None,
        path: str | None,
        config: str | None,
        item: str,
        label: str | None,
        metadata: str | None,
        splits: bool | None,
        where: str | None,
        patience: NotNegative,
        relist: bool,
    ):
        self.metadata, self.as_splits, self.where = metadata, splits, where
        self.patience, self.relist = patience, relist
        self.name, self.path, self.config = name, path, config
        self.item, self.label = item, label

    def feature(self) -> Any:
        """The class of `datasets` that a column of items has."""
        raise NotImplementedError

    def split(self, items: Any, **known: Any) -> Split:
        """Of encoded items, with what else is `known` of them: the fields of `Stored`."""
        raise NotImplementedError

    def splits(self) -> dict[str, Split]:
        """Raises UserError where nothing is found, the Hub cannot be reached, or a column is not there."""
        loaded = self._load()
        if loaded is None:
            return self.of_folder(self._tree(str(self.path)))
        where = str(self.path or self.name)
        numbers, classes = numbered({name: self._labels(rows, f"{where} ({name})") for name, rows in loaded.items()})
        return {name: self._split(rows, name, numbers[name], classes) for name, rows in loaded.items()}

    def _labels(self, rows: Any, where: str) -> labels.Column | None:
        return labels_of(rows, self._label(rows, where), where)

    def _label(self, rows: Any, where: str) -> str | None:
        kinds = [name for name, feature in rows.features.items() if type(feature).__name__ == "ClassLabel"]
        return label_column(rows, self.label, kinds, where)

    @cached_property
    def is_far(self) -> bool:
        return self.path is not None and is_url(self.path)

    def _tree(self, path: str) -> Tree:
        if not self.is_far:
            return read_tree(existing(path).absolute())
        if self.metadata:
            raise UserError("data.source.metadata is read from this machine alone: copy the folder")
        return read_remote(path, self.relist)

    def _load(self) -> Any:
        if self.path is None:
            if self.name is None:
                raise without_path(self.where or f"give a folder of {self.kind}, data.path=FOLDER")
            return load_hub(self.name, self.config)
        if self.is_far:
            return None
        folder = existing(self.path)
        if tables := load_parquet(folder, f"they need a column of encoded {self.kind}"):
            return tables
        if folder.is_file():
            raise UserError(f"data.path: {folder} is a file; give a folder of {self.kind} or Parquet files")
        return None

    def of_folder(self, tree: Tree, people: tuple[bool, bool] | None = None) -> dict[str, Split]:
        """The splits of a folder of files, each a row. `people` as in `read_folder`."""
        folder = tree.folder
        read = read_folder(tree, self.suffixes, self.kind, self.as_splits, people)
        given: dict[str, Sequence[Any] | None] = {n: split.classes if self.label else None for n, split in read.items()}
        cells: dict[str, dict[str, np.ndarray]] = {}
        if self.metadata:
            given, cells = beside(
                Path(folder) / self.metadata, {n: split.files for n, split in read.items()}, self.label
            )
        columns = {n: None if v is None else labels.Column(v, f"{folder} ({n})") for n, v in given.items()}
        numbers, classes = numbered(columns)
        return {
            name: self.split(
                self._items(split.files),
                identity=split.files.identity,
                labels=numbers[name],
                classes=classes,
                columns={"file": np.array([f"{folder}/{file}" for file in split.files.relative])},
                table=cells.get(name, {}),
            )
            for name, split in read.items()
        }

    def _items(self, files: Files) -> EncodedFiles:
        return RemoteFiles(files, self.key, self.patience) if self.is_far else EncodedFiles(files, self.key)

    def _split(self, rows: Any, split: str, numbers: Tensor | None, classes: list[str] | None) -> Split:
        kind, features = self.feature(), rows.features
        items = [name for name, feature in features.items() if type(feature) is kind]
        if not items and self.key in features and "bytes" in features[self.key]:  # Parquet without the feature's name
            items = [self.key]
        item = column(self.item, items, features, self.key, str(self.path or self.name))
        if item is None:
            raise UserError(f"{self._where(split)} has no column of {self.kind}; its columns: {', '.join(features)}")
        encoded = rows.select_columns([item]).cast_column(item, kind(decode=False))
        if item != self.key:
            encoded = encoded.rename_column(item, self.key)
        return self.split(
            encoded,
            identity=rows._fingerprint,
            labels=numbers,
            classes=classes,
            columns=_files(rows, item),
            table=Table(rows, [item, self._label(rows, self._where(split))]),
        )

    def _where(self, split: str) -> str:
        return f"the split {split!r} of {self.path or self.name}"


class HuggingFace(Encoded[ImageSplit]):
    """Of images; `image` names their column. `frames`: of a DICOM file with several the first alone, or all, each a
    row."""

    key, kind, suffixes = "image", "images", SUFFIXES

    def __init__(
        self,
        name: str | None,
        path: str | None,
        config: str | None = None,
        image: str = "auto",
        label: str | None = "auto",
        metadata: str | None = None,
        splits: bool | None = None,
        where: str | None = None,
        frames: Literal["first", "all"] = "first",
        patience: NotNegative = PATIENCE,
        relist: bool = False,
    ):
        super().__init__(name, path, config, image, label, metadata, splits, where, patience, relist)
        self.frames = frames

    def feature(self) -> Any:
        from datasets import Image

        return Image

    def split(self, items: Any, **known: Any) -> ImageSplit:
        return ImageSplit(items, **known)

    def _load(self) -> Any:
        if is_dicom(self.path) and existing(str(self.path)).is_file():
            raise UserError("data.path is a DICOM file: give the folder that it lies in")
        return super()._load()

    def of_folder(self, tree: Tree, people: tuple[bool, bool] | None = None) -> dict[str, ImageSplit]:
        """Where there are DICOM files, paths are private, and a patient's images belong together."""
        found = patients(tree)
        if found is None:
            return super().of_folder(tree, people)
        read = super().of_folder(tree, found.named)
        made = {name: _of_patients(split, found, self.frames) for name, split in read.items()}
        more = sum(found.frames.get(file, 1) > 1 for split in read.values() for file in split.images.paths)
        if more:
            rows = f"each of which is a row: {sum(map(len, made.values())):,} rows"
            how = rows if self.frames == "all" else "of which the first is read (data.frames=all reads all)"
            say(f"{more:,} DICOM files have several frames, {how}")
        return made


def _of_patients(split: ImageSplit, people: Patients, frames: Literal["first", "all"]) -> ImageSplit:
    """With a row for each frame, or for the first of each file, and the columns `frame` and `patient`."""
    files = split.images.paths
    counts = [people.frames.get(file, 1) if frames == "all" else 1 for file in files]
    rows = np.repeat(np.arange(len(files)), counts)
    which = [frame for count in counts for frame in range(count)]
    known = {**split.columns, "patient": np.array([people.patient.get(file, "") for file in files])}
    return replace(
        split,
        images=Frames([files[row] for row in rows.tolist()], split.images.key, which),
        labels=None if split.labels is None else split.labels[rows],
        columns={name: values[rows] for name, values in known.items()} | {"frame": np.array(which)},
        table={name: values[rows] for name, values in split.table.items()},
        group="patient",
        private=True,
    )


class FashionMNIST(Source[ImageSplit]):
    """Fashion-MNIST (Xiao et al. 2017, arXiv 1708.07747) from the IDX files in `path`, or from the Hub as `name`.

    Without a `path`, Debian's package dataset-fashion-mnist is looked for.
    """

    debian = Path("/usr/share/datasets/fashion-mnist")
    classes = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")

    def __init__(self, name: str | None, path: str | None):
        self.name, self.path = name, path
        self.folder = Path(path).expanduser() if path else self.debian

    def splits(self) -> dict[str, ImageSplit]:
        if not (self.folder / "train-images-idx3-ubyte.gz").exists():
            return HuggingFace(self.name, self.path).splits()
        return {"train": self._split("train"), "test": self._split("t10k")}

    def _split(self, prefix: str) -> ImageSplit:
        files = [self.folder / f"{prefix}-{kind}-ubyte.gz" for kind in ("images-idx3", "labels-idx1")]
        images, labels = map(read_idx, files)
        identity = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:32]
        return ImageSplit(images[:, None], identity=identity, labels=labels.long(), classes=list(self.classes))


class Digits(Source[ImageSplit]):
    """scikit-learn's 1,797 grey digits of 8 × 8 pixels, every fifth of them as the test split."""

    def __init__(self, name: str | None, path: str | None):
        if path:
            raise UserError(
                "data=digits comes with scikit-learn and takes no data.path: leave it out, or choose other data"
            )

    def splits(self) -> dict[str, ImageSplit]:
        from sklearn.datasets import load_digits

        bunch = load_digits()
        images = torch.from_numpy((bunch.images * 255 / 16).round().astype(np.uint8))[:, None]
        labels = torch.from_numpy(bunch.target).long()
        test = torch.arange(len(images)) % 5 == 4
        names = [str(name) for name in bunch.target_names]
        return {
            "train": ImageSplit(images[~test], identity="digits/train", labels=labels[~test], classes=names),
            "test": ImageSplit(images[test], identity="digits/test", labels=labels[test], classes=names),
        }


def read_idx(file: Path) -> UInt8[Tensor, "*shape"]:
    """An array in the IDX format of MNIST: two zero bytes, the type (8: uint8), the rank, the sizes, the values.

    Raises UserError where the file is missing, cut off, or something else.
    """
    try:
        with gzip.open(file) as stream:
            zeros, kind, rank = stream.read(2), *stream.read(2)
            sizes = np.frombuffer(stream.read(4 * rank), ">i4", count=rank).tolist()
            if zeros != bytes(2) or kind != 8 or min(sizes) < 0 or math.prod(sizes) > LARGEST_IDX:
                raise ValueError(f"its header says type {kind}, sizes {sizes}")
            values = bytearray(stream.read(math.prod(sizes)))  # no more, however far it would unpack
            return torch.frombuffer(values, dtype=torch.uint8).view(sizes)
    except (OSError, EOFError, ValueError, RuntimeError, zlib.error) as error:
        raise UserError(f"{file} is no whole IDX file ({error}): fetch it again") from error


def load_hub(name: str, config: str | None, streaming: bool = False) -> Any:
    return _try(
        lambda: _datasets().load_dataset(name, config, streaming=streaming),
        f"the data set {name!r} could not be read from the Hugging Face Hub",
        "check the name and the network, or give a local copy with data.path=FOLDER",
    )


def by_split(folder: Path, suffixes: Sequence[str]) -> dict[str, list[Path]]:
    """The files of a folder (or one file) by split: they are named `split.suffix` or `split-….suffix`."""
    files = [folder] if folder.is_file() else sorted(folder.iterdir())
    splits: dict[str, list[Path]] = {}
    for file in files:
        if file.suffix in suffixes:
            splits.setdefault(file.stem.split("-")[0], []).append(file)
    return splits


def load_parquet(folder: Path, need: str) -> Any:
    """The splits in a folder of Parquet files (or one file); None where there is none."""
    files = {name: [glob.escape(str(file)) for file in some] for name, some in by_split(folder, [".parquet"]).items()}
    if not files:
        return None
    what = f"data.path: the Parquet files in {folder} could not be read"
    return _try(lambda: _datasets().load_dataset("parquet", data_files=files), what, need)


def without_path(todo: str) -> UserError:
    """What any source raises that has neither a name nor a path; `todo`: what to give it."""
    return UserError(f"data.path is not set: {todo}")


def existing(path: str) -> Path:
    folder = Path(path).expanduser()
    if not folder.exists():
        raise UserError(f"data.path: there is no {folder} (looked in {Path.cwd()})")
    return folder


def beside(
    file: Path, files: Mapping[str, Sequence[PurePath]], chosen: str | None
) -> tuple[dict[str, Sequence[Any] | None], dict[str, dict[str, np.ndarray]]]:
    """The labels that a CSV file gives to files, by their paths from where it lies, and its other cells by column.

    A label is None, and a cell "", where it has none for a file.
    """
    if not file.is_file() or file.suffix not in tables.SUFFIXES:
        kinds = " or ".join(tables.SUFFIXES)
        raise UserError(f"data.source.metadata: {file} could not be read: it should be a file {kinds}")
    table, _ = tables.read_table(file, tables.Form())
    names = {name: None for name in table.column_names}
    column("file_name", [], names, "metadata", str(file))
    label = column("label" if chosen in (None, "auto") else chosen, [], names, "label", str(file))
    place = {name: row for row, name in enumerate(table["file_name"].to_pylist())}
    rows = {split: [place.get(str(one.relative_to(file.parent))) for one in some] for split, some in files.items()}

    def of(values: list[Any], split: str) -> list[Any]:
        return [None if row is None else values[row] for row in rows[split]]

    known = _as_numbers(table[str(label)].to_pylist())
    found = {split: of(known, split) for split in files}
    if not any(value is not None for values in found.values() for value in values):
        raise UserError(f"{file} has a label for none of the images: file_name has to be a path from {file.parent}")
    others = {name: table[name].to_pylist() for name in names if name not in ("file_name", label)}
    return dict(found), {split: {name: words(of(v, split)) for name, v in others.items()} for split in files}


def column(chosen: str | None, names: list[str], features: Any, what: str, where: str) -> str | None:
    """The column of that name; "auto" is the first of `names`, if there is one."""
    if chosen is None or chosen == "auto":
        return names[0] if names and chosen else None
    if chosen not in features:
        raise UserError(f"data.source.{what}: there is no column {chosen!r} in {where}; {nearest(chosen, features)}")
    return chosen


def label_column(rows: Any, chosen: str | None, kinds: list[str], where: str) -> str | None:
    """The name of the chosen column of `datasets`; "auto": the first of `kinds`, or else `label`, in any case."""
    names = [*kinds, *(name for name in rows.features if name.lower() == "label")]
    return column(chosen, names, rows.features, "label", where)


def labels_of(rows: Any, label: str | None, where: str) -> labels.Column | None:
    """Those of a column of `datasets`; None without one."""
    if label is None:
        return None
    values = list(rows[label])
    if getattr(rows.features[label], "dtype", None) in ("string", "large_string"):  # lists have none
        values = _as_numbers(values)
    return labels.Column(values, where, getattr(rows.features[label], "names", None))


def _as_numbers(words: list[str | None]) -> list[Any]:
    """Numbers, where all are: CSV files have texts alone, and 1 in one split can be 1.0 in another."""
    try:
        return [None if not word or not word.strip() else float(word) for word in words]
    except ValueError:
        return words


def _files(rows: Any, image: str) -> dict[str, np.ndarray]:
    """The column `file`, where each image is a file of its own."""
    paths = pc.struct_field(rows.with_format("arrow")[image], "path").to_pylist() if rows.num_rows else []
    return {"file": np.array(paths)} if paths and all(paths) and Path(paths[0]).is_file() else {}


def _datasets() -> Any:
    import datasets  # takes a second, and is not needed for every source
    import huggingface_hub

    datasets.disable_progress_bars()
    datasets.logging.set_verbosity_error()
    huggingface_hub.logging.set_verbosity_error()
    return datasets


def _try(load: Any, what: str, todo: str) -> Any:
    try:
        return load()
    except Exception as error:  # `datasets` raises many kinds; the user needs one
        raise UserError(f"{what}: {todo} ({first_line(error)})") from error
