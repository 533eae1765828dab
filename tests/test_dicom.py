"""DICOM files: pixels against the formulas of the standard and other decoders; who they are of, which nobody may read.

The files are pydicom's own, those that its package holds.
"""

import io
import json
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pydicom
import pytest
import torch
from command import ssl_lab
from PIL import Image
from pydicom.encaps import generate_frames
from pydicom.pixels import get_decoder, pixel_array
from pydicom.uid import JPEGLSLossless
from test_labels import GREY, PROTOCOL, data_of

import ssl_lab as package
from ssl_lab.data import dicom
from ssl_lab.data.few import stratified_groups
from ssl_lab.data.hiding import hidden, without
from ssl_lab.data.pixels import Form, decode, thumbnail
from ssl_lab.errors import UserError
from ssl_lab.evaluation.sheet import LINEAR, sheet
from ssl_lab.evaluation.subject import raw, subject

FILES = Path(pydicom.__file__).parent / "data" / "test_files"
ID, NAME = "PLANTED-ID-77", "PLANTED^NAME"


def shares(file, frame=0, window=None, limits=None):
    return dicom.read(Path(file), frame, window, limits).shares


def changed(file, to, **values):
    """A copy with other values; None takes one away."""
    read = pydicom.dcmread(FILES / file)
    for name, value in values.items():
        if value is None:
            delattr(read, name)
        else:
            setattr(read, name, value)
    to.parent.mkdir(parents=True, exist_ok=True)
    read.save_as(to)
    return to


def linear(values, centre, width):
    """PS3.3 C.11.2.1.2.1, from 0 to 1, a value at a time."""
    made = np.empty(values.shape)
    for place, x in np.ndenumerate(values):
        if x <= centre - 0.5 - (width - 1) / 2:
            made[place] = 0
        elif x > centre - 0.5 + (width - 1) / 2:
            made[place] = 1
        else:
            made[place] = (x - (centre - 0.5)) / (width - 1) + 0.5
    return made


@pytest.mark.parametrize(
    ("file", "own", "given"),
    [
        ("MR_small.dcm", (600, 1600), None),
        ("693_J2KI.dcm", (40, 100), None),  # rescaled
        ("J2K_pixelrep_mismatch.dcm", (40, 100), None),  # the first of three
        ("CT_small.dcm", (40, 400), (40.0, 400.0)),  # has none
        ("MR_small.dcm", (500, 1), (500.0, 1.0)),
    ],
)
def test_a_window_is_that_of_the_standard(file, own, given):
    read = pydicom.dcmread(FILES / file)
    values = read.pixel_array[::8, ::8] * float(read.get("RescaleSlope", 1)) + float(read.get("RescaleIntercept", 0))
    expected = linear(values, *own)
    assert 0 < expected.mean() < 1
    np.testing.assert_allclose(shares(FILES / file, window=given)[::8, ::8, 0], expected, atol=1e-12)


def test_other_functions_of_a_window(tmp_path):
    values = pydicom.dcmread(FILES / "MR_small.dcm").pixel_array.astype(float)
    sigmoid = changed("MR_small.dcm", tmp_path / "a.dcm", VOILUTFunction="SIGMOID")
    np.testing.assert_allclose(shares(sigmoid)[..., 0], 1 / (1 + np.exp(-4 * (values - 600) / 1600)))
    exact = changed("MR_small.dcm", tmp_path / "b.dcm", VOILUTFunction="LINEAR_EXACT")
    np.testing.assert_allclose(shares(exact)[..., 0], ((values - 600) / 1600 + 0.5).clip(0, 1))


def test_a_falling_slope_keeps_its_window(tmp_path):
    """Rescaled values fall where stored ones rise, and larger ones are still brighter."""
    file = changed("MR_small.dcm", tmp_path / "a.dcm", RescaleSlope=-1, RescaleIntercept=2000)
    values = 2000 - pydicom.dcmread(FILES / "MR_small.dcm").pixel_array.astype(float)
    np.testing.assert_allclose(shares(file)[..., 0], linear(values, 600, 1600), atol=1e-12)


def test_monochrome1_is_turned_round(tmp_path):
    turned = changed("MR_small.dcm", tmp_path / "a.dcm", PhotometricInterpretation="MONOCHROME1")
    np.testing.assert_allclose(shares(turned), 1 - shares(FILES / "MR_small.dcm"))


def test_without_a_window_the_range_is_that_of_the_bits(tmp_path, capsys):
    """12 bits go from 0 to 4,095; 16 with a sign, rescaled, from -33,792 to 31,743."""
    twelve = changed("examples_overlay.dcm", tmp_path / "a.dcm", WindowCenter=None, WindowWidth=None)
    np.testing.assert_allclose(shares(twelve)[..., 0], pydicom.dcmread(twelve).pixel_array / 4095)
    values = pydicom.dcmread(FILES / "CT_small.dcm").pixel_array.astype(float) - 1024
    np.testing.assert_allclose(shares(FILES / "CT_small.dcm")[..., 0], (values + 33_792) / 65_535)
    assert np.allclose(
        shares(FILES / "CT_small.dcm", limits=(-1024.0, 3000.0))[..., 0], ((values + 1024) / 4024).clip(0, 1)
    )
    data_of(tmp_path, "data.holdout=0")
    assert (
        "1 DICOM images have no window: black and white are the least and the greatest value" in capsys.readouterr().err
    )
    fewer = {"BitsStored": 10, "HighBit": 9, "PixelRepresentation": 0}
    twelve = changed("MR_small_jpeg_ls_lossless.dcm", twelve, WindowCenter=None, WindowWidth=None, **fewer)
    with pytest.raises(ValueError, match="its values go beyond the bits"):
        shares(twelve)


def test_sixteen_bits_keep_every_step(tmp_path):
    """Without a window no two values of 16 bits become one, in 8 bits nearly all do."""
    file = changed("MR_small.dcm", tmp_path / "a.dcm", WindowCenter=None, WindowWidth=None)
    values = pydicom.dcmread(file).pixel_array
    wide, narrow = (decode({"path": str(file)}, Form(64, 1, bits=bits)).pixels[0] for bits in (16, 8))
    assert wide.dtype == np.uint16
    assert len(np.unique(wide)) == len(np.unique(values)) > 500
    np.testing.assert_array_equal(wide, values.astype(int) + 32_768)
    np.testing.assert_array_equal(narrow, np.rint((values.astype(float) + 32_768) * 255 / 65_535))


@pytest.mark.parametrize(("signed", "count"), [(False, 1000), (True, 1000), (True, 2**16)])
@pytest.mark.parametrize("bits", [8, 12])
def test_tables_in_the_place_of_a_window_and_of_a_slope(tmp_path, bits, signed, count):
    """The entries begin with a value; what lies below has the first, what lies above the last."""
    entries = (np.arange(count) ** 2 // 300 % 2**bits).astype(np.uint16)
    table = pydicom.Dataset()
    first = 200 if count < 2**16 else -(2**15)
    table.LUTDescriptor = [count % 2**16, first, bits]
    long = count == 2**16  # too long for numbers
    table.add_new("LUTData", "OW" if long else "US", entries.astype("<u2").tobytes() if long else entries.tolist())
    kind = {"PixelRepresentation": int(signed)}
    values = pydicom.dcmread(FILES / "MR_small.dcm").pixel_array.astype(int)
    expected = entries[(values - first).clip(0, count - 1)] / (2**bits - 1)
    voi = changed("MR_small.dcm", tmp_path / "a.dcm", VOILUTSequence=[table], **kind)
    np.testing.assert_allclose(shares(voi)[..., 0], expected)
    table.LUTDescriptor = [count % 2**16, first, 16 if bits == 12 else 8]
    both = {"WindowCenter": None, "WindowWidth": None}
    modality = changed("MR_small.dcm", tmp_path / "b.dcm", ModalityLUTSequence=[table], **kind, **both)
    np.testing.assert_allclose(shares(modality)[..., 0], expected * (2**bits - 1) / (65_535 if bits == 12 else 255))


def test_an_enhanced_file_has_a_window_for_each_frame(tmp_path):
    def group(centre):
        window, macro = pydicom.Dataset(), pydicom.Dataset()
        window.WindowCenter, window.WindowWidth = centre, 600_000
        macro.FrameVOILUTSequence = [window]
        return macro

    slope, shared = pydicom.Dataset(), pydicom.Dataset()
    slope.RescaleSlope, slope.RescaleIntercept = 2, -10
    shared.PixelValueTransformationSequence = [slope]
    file = changed(
        "rtdose.dcm",
        tmp_path / "a.dcm",
        SharedFunctionalGroupsSequence=[shared],
        PerFrameFunctionalGroupsSequence=[group(2_000_000 + 10_000 * i) for i in range(15)],
    )
    values = pydicom.dcmread(file).pixel_array.astype(float)
    for frame in (0, 14):
        np.testing.assert_allclose(
            shares(file, frame)[..., 0], linear(2 * values[frame] - 10, 2_000_000 + 10_000 * frame, 600_000), atol=1e-9
        )


@pytest.mark.parametrize(
    "file",
    ["RLE", "bigendian", "implicit", "expb", "jp2klossless", "jpeg_ls_lossless", "padded"],
)
def test_the_same_image_in_each_way_to_store_it(file):
    np.testing.assert_array_equal(shares(FILES / f"MR_small_{file}.dcm"), shares(FILES / "MR_small.dcm"))


@pytest.mark.parametrize(
    "file", ["SC_rgb_rle.dcm", "SC_rgb_jpeg_gdcm.dcm", "SC_rgb_rle_16bit.dcm", "SC_rgb_rle_32bit.dcm"]
)
def test_colours_are_kept(file):
    """The same picture in RLE and lossless JPEG, of 8, 16 and 32 bits."""
    np.testing.assert_allclose(shares(FILES / file), pydicom.dcmread(FILES / "SC_rgb_rle.dcm").pixel_array / 255)


def test_colours_of_a_palette():
    read = pydicom.dcmread(FILES / "examples_palette.dcm")
    parts = [getattr(read, f"{colour}PaletteColorLookupTableData") for colour in ("Red", "Green", "Blue")]
    expected = np.stack([np.frombuffer(part, "<u2")[read.pixel_array] for part in parts], -1)
    np.testing.assert_allclose(shares(FILES / "examples_palette.dcm"), expected / 65_535)


def test_luma_and_chroma_become_colours():
    """PS3.3 C.7.6.3.1.2, YBR_FULL."""
    file = FILES / "SC_ybr_full_422_uncompressed.dcm"
    y, blue, red = np.moveaxis(pixel_array(file, raw=True).astype(float), -1, 0)
    blue, red = blue - 128, red - 128
    expected = np.stack([y + 1.402 * red, y - 0.344136 * blue - 0.714136 * red, y + 1.772 * blue], -1)
    np.testing.assert_allclose(255 * shares(file), expected.clip(0, 255), atol=1.01)


@pytest.mark.parametrize("file", ["SC_rgb_jpeg_dcmtk.dcm", "SC_rgb_dcmtk_+eb+cy+np.dcm", "examples_ybr_color.dcm"])
def test_jpeg_against_pillow(file):
    read = pydicom.dcmread(FILES / file)
    stored = next(generate_frames(read.PixelData, number_of_frames=int(read.get("NumberOfFrames", 1))))
    expected = np.asarray(Image.open(io.BytesIO(stored)).convert("RGB")).astype(float)
    assert np.abs(255 * shares(FILES / file) - expected).mean() < 1.5  # chroma is made larger in several ways


def test_grey_and_colours_as_many_channels_as_the_run_has(tmp_path):
    colours = decode({"path": str(FILES / "SC_rgb_rle.dcm")}, Form(100, 1)).pixels[0]
    picture = Image.fromarray(pydicom.dcmread(FILES / "SC_rgb_rle.dcm").pixel_array)
    np.testing.assert_allclose(colours.astype(int), np.asarray(picture.convert("L")).astype(int), atol=1)
    grey = decode({"path": str(FILES / "MR_small.dcm")}, Form(64, 3)).pixels
    assert (grey == grey[:1]).all()
    with pytest.raises(ValueError, match="it has 1 channels"):
        decode({"path": str(FILES / "MR_small.dcm")}, Form(64, 5))


def test_one_frame_or_all(tmp_path, capsys):
    folder = changed("rtdose.dcm", tmp_path / "set" / "a.dcm").parent
    changed("MR_small.dcm", folder / "b.dcm")
    window = "data.window=[1000000,600000]"
    first = data_of(folder, window, "data.size=10", "data.batch_size=1", "data.holdout=0")
    assert len(first.rows["bank"]) == 2
    assert (
        "1 DICOM files have several frames, of which the first is read (data.frames=all reads all)"
        in capsys.readouterr().err
    )
    rows = data_of(folder, window, "data.size=10", "data.batch_size=1", "data.holdout=0", "data.frames=all").rows[
        "bank"
    ]
    assert "each of which is a row: 16 rows" in capsys.readouterr().err
    assert rows.columns["frame"].tolist() == [*range(15), 0]
    assert len(set(rows.columns["file"][:15])) == 1
    values = pydicom.dcmread(FILES / "rtdose.dcm").pixel_array.astype(float)
    expected = [np.rint(255 * linear(one, 1_000_000, 600_000)) for one in values]
    np.testing.assert_array_equal(rows[torch.arange(15)]["image"][:, 0], expected)


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        ("rtstruct.dcm", "it is no DICOM file"),  # it lacks the prefix
        ("test-SR.dcm", "it has no pixels: it is a report, a plan, a directory, or damaged"),
        ("dicomdirtests/DICOMDIR", "it has no pixels"),
        ("MR_truncated.dcm", "its pixels could not be decoded"),
        ("image_dfl.dcm", ""),  # deflated, and whole
        ("JPEG-lossy.dcm", "its pixels could not be decoded"),
        ("no words", "it is no DICOM file"),
        ("cut in the header", "its header is damaged|it has no pixels"),
        ("a film", r"its compression, MPEG2 .*, cannot be read"),
        ("without a decoder", r"its compression, JPEG-LS .*, needs more: pip install 'ssl-lab\[medical\]'"),
    ],
)
def test_what_is_no_whole_image_is_named_and_left_out(tmp_path, capsys, monkeypatch, file, reason):
    folder = changed("MR_small.dcm", tmp_path / "set" / "a.dcm").parent
    bad = folder / f"{ID}.dcm"
    if file == "no words":
        bad.write_text("no words")
    elif file == "cut in the header":
        bad.write_bytes((FILES / "MR_small.dcm").read_bytes()[:700])
    elif file == "a film":
        read = pydicom.dcmread(FILES / "MR_small_RLE.dcm")
        read.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.100"
        read.save_as(bad)
    elif file == "without a decoder":
        monkeypatch.setattr(get_decoder(JPEGLSLossless), "_available", {})
        shutil.copy(FILES / "MR_small_jpeg_ls_lossless.dcm", bad)
    else:
        shutil.copy(FILES / file, bad)
    rows = data_of(folder, "data.holdout=0").rows["bank"]
    said = capsys.readouterr().err
    assert len(rows) == 1 + (not reason)
    assert ID not in said
    if reason:
        assert re.search(rf"1 of 2 images could not be decoded:\n  {hidden(str(bad))}: ({reason})", said)
        with pytest.raises(UserError, match=hidden(str(bad))):
            data_of(folder, "data.max_bad=0")


def test_pydicom_is_asked_for(tmp_path, monkeypatch):
    folder = changed("MR_small.dcm", tmp_path / "set" / "a.dcm").parent
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(UserError, match=r"DICOM files need pydicom: pip install 'ssl-lab\[medical\]'"):
        data_of(folder)


def planted(folder, *files, bad=""):
    """MR_small with other pixels in each, of one patient each."""
    draw = np.random.default_rng(0)
    for i, name in enumerate(files):
        read = pydicom.dcmread(FILES / "MR_small.dcm")
        read.PatientID, read.PatientName = (ID, NAME) if i == 0 else (f"{ID}-{i}", f"{NAME}^{i}")
        read.PixelData = (read.pixel_array + draw.integers(0, 500, (64, 64))).astype("<i2").tobytes()
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        read.save_as(folder / name)
    if bad:
        (folder / bad).write_bytes((folder / files[0]).read_bytes()[:-3000])
    return folder


def everything(*places):
    """All bytes of all files, and the words of tables, whose pages are compressed."""
    for file in (file for place in places for file in Path(place).rglob("*") if file.is_file()):
        yield file.read_bytes()
        if file.suffix == ".parquet":
            yield pq.read_table(file).drop(["vector"]).to_pandas().to_csv().encode()


def test_a_patient_is_in_no_file_page_or_line(tmp_path, capfd):
    train = [f"{kind}/{ID}/{NAME}_{i}.dcm" for kind in ("ill", "well") for i in range(8)]
    folder = planted(
        tmp_path / "set", *(f"train/{name}" for name in train), f"test/ill/{ID}.dcm", f"test/well/{NAME}.dcm",
        bad=f"train/ill/{ID}/{ID}_{NAME}_bad.dcm",
    )  # fmt: skip
    shutil.copy(folder / "train" / train[0], folder / "test" / "well" / f"{ID}_{NAME}_again.dcm")
    small = [*GREY, f"data.path={folder}", "backbone.widths=[4]", "debug=one_batch", "data.batch_size=4"]
    run = ssl_lab("pretrain", *small)
    embedded = ssl_lab("embed", f"run={run.folder}")
    probe = ssl_lab("probe", f"run={run.folder}", "trainer=cpu")
    collection = f"collection={embedded.folder}"
    found = [ssl_lab("search", collection, "query.id=0", "k=3", f"output={output}") for output in ("table", "json")] + [
        ssl_lab("search", collection, f"query={folder / 'test' / 'ill' / f'{ID}.dcm'}", "k=3")
    ]
    report = ssl_lab("report", f"runs=[{run.folder}]")
    quick = "protocol.draws=2", "protocol.starts=2", "protocol.few_labels=[1]", "logger=none"
    scored = ssl_lab("evaluate", f"run={run.folder}", *quick)
    pattern = ssl_lab("pretrain", *small, "data.group=(?P<group>_0)", code=1)
    lost = ssl_lab("search", collection, f"query={folder / ID}_lost.dcm", code=1)
    refused = ssl_lab("pretrain", *small, "data.max_bad=0", code=1)
    worker = ssl_lab("pretrain", *small, "data.memory_gb=0", "data.workers=1", code=1)
    done = [run, embedded, probe, *found, report, scored, pattern, lost, refused, worker]
    said = "".join(one.out + one.err for one in done) + "".join(capfd.readouterr())  # of processes, too
    for word in (
        "could not be decoded",
        "20 files of 18 patients",
        "1 group (data.group=patient) of 'test' is in 'train' too: 1 of its 3 rows",
        "1 of the 3 rows of 'test' have a near-duplicate in 'train', 1 of them an equal",
        "do not match '(?P<group>_0)'",
        "well",
        "its pixels could not be decoded",
        "no such file",
    ):
        assert word in said
    tables = [pq.read_table(file).to_pandas() for file in (embedded.folder / "embeddings").glob("*.parquet")]
    for table in tables:
        assert {"file", "frame", "patient"} <= set(table)
        assert hidden(ID) in set(table["patient"])
    assert json.loads(found[1].out.splitlines()[0])[0]["from"] in {file for table in tables for file in table["file"]}
    assert (found[2].folder / "hits.html").read_text().count("base64") == 4
    content = [*everything(tmp_path / "runs", tmp_path / "cache"), said.encode()]
    assert len(content) > 50
    assert list(tmp_path.rglob("*.wandb"))
    for secret in (ID, NAME, "PLANTED", "_bad.dcm"):
        assert not any(secret.encode() in one for one in content), secret


def test_folders_called_after_patients_are_no_classes(tmp_path, capsys):
    folder = planted(tmp_path / "set", f"scan {ID.lower()}/a.dcm", "other/b.dcm", "c.dcm", "Name_planted 2/d.dcm")
    data = data_of(folder, "data.holdout=0")
    said = capsys.readouterr().err
    assert data.classes is None
    assert len(data.rows["bank"]) == 4
    assert "folders that are called after patients are no classes" in said
    assert "planted" not in said.lower()
    data_of(folder, "data.holdout=0")  # from the cache
    assert capsys.readouterr().err == said
    planted(tmp_path / "beside", "train/a.dcm", f"{ID}/b.dcm")
    for splits in ("null", "true"):
        with pytest.raises(UserError) as error:
            data_of(tmp_path / "beside", f"data.splits={splits}")
        assert ID not in str(error.value)
    shutil.copytree(folder / "other", tmp_path / "split" / "train" / "Planted")  # a part of a name
    shutil.copytree(folder / f"scan {ID.lower()}", tmp_path / "split" / "train" / "ill")
    assert data_of(tmp_path / "split", "data.holdout=0").classes is None


@pytest.mark.parametrize(
    ("id", "name", "called", "is_"),
    [
        ("A-1", "", "scan a1", False),
        ("A-1", "", "scan_A-1", True),
        ("77", "", "1977", False),
        ("12345", "", "x12345y", True),
        ("", "Doe^Jane", "Jane Doe", True),
        ("", "Doe^Jane", "janedoe_2", True),
        ("", "Doe^Jane", "Jane", False),  # of data.path, which may be the user's own name
        ("", "Doe", "Doe", True),
        ("", "Test^S^R", "test", False),
        ("", "Yamada^Tarou=Doe^Jane", "doe.jane", True),
        ("", "", "anything", False),
    ],
)
def test_a_path_that_names_a_patient_is_refused(tmp_path, id, name, called, is_):
    file = tmp_path / called / "a.dcm"
    changed("MR_small.dcm", file, PatientID=id, PatientName=name)
    if not is_:
        assert len(data_of(file.parent, "data.holdout=0").rows["bank"]) == 1
        return
    with pytest.raises(UserError, match=r"data\.path holds the id or the name of a patient") as error:
        data_of(file.parent)
    assert called not in str(error.value)
    assert not (tmp_path / "runs").exists()


def test_files_without_a_patient_and_of_other_kinds(tmp_path, capsys):
    """A study stands for the patient; what is no DICOM file has none."""
    for i, study in enumerate(("1.2.3", "1.2.3", "1.2.4")):
        changed("MR_small.dcm", tmp_path / f"{i}.dcm", PatientID="", StudyInstanceUID=study, BurnedInAnnotation="YES")
    Image.new("L", (8, 8)).save(tmp_path / "3.png")
    columns = data_of(tmp_path, "data.holdout=0").rows["bank"].columns
    said = capsys.readouterr().err
    assert "3 of them have no PatientID" in said
    assert "3 of them say that there is text in the picture" in said
    assert columns["patient"].tolist() == [hidden("1.2.3"), hidden("1.2.3"), hidden("1.2.4"), ""]
    assert columns["file"].tolist() == [hidden(str(tmp_path / name)) for name in ("0.dcm", "1.dcm", "2.dcm", "3.png")]


def of_patients(folder, files=24):
    """Two classes; a file of patient 1 has 15 frames, and a picture is of none."""
    for i in range(files):
        changed("MR_small.dcm", folder / "ab"[i % 2] / f"{i}.dcm", PatientID=f"P{i % 5}", PatientName="")
    changed("rtdose.dcm", folder / "a" / "film.dcm", PatientID="P1", PatientName="")
    Image.new("L", (8, 8)).save(folder / "a" / "none.png")
    return folder


def patients_of(data, role, which=slice(None)):
    rows = data.rows[role]
    return set(rows.columns["patient"][rows.index.numpy()][which].tolist()) - {""}


def test_images_of_a_patient_stay_together(tmp_path, capsys):
    options = "data.frames=all", "data.holdout=0.5", "data.window=[1000,2000]"
    data = data_of(of_patients(tmp_path / "set"), *options)
    said = capsys.readouterr().err
    assert "rows of one patient stay together (data.group=patient, as it is not set; with data.group=file" in said
    assert re.search(r"scores are taken on \d of the 6 groups of 'train' \(data.group=patient\)", said)
    test, bank = (patients_of(data, role) for role in ("test", "bank"))
    assert test | bank == {hidden(f"P{i}") for i in range(5)}
    assert test
    assert bank
    assert not test & bank
    for seed in range(5):
        drawn = stratified_groups(data.labels("bank"), data.groups("bank"), 10, seed).numpy()
        others = np.setdiff1d(np.arange(len(data.rows["bank"])), drawn)
        assert len(drawn)
        assert not patients_of(data, "bank", drawn) & patients_of(data, "bank", others)
    vectors = subject(raw(data), data, None).vectors
    assert f"over {len(data.groups('test').unique())} groups" in sheet(vectors, PROTOCOL, 0).scores[LINEAR].note
    alone = data_of(tmp_path / "set", *options, "data.group=file")
    assert patients_of(alone, "test") & patients_of(alone, "bank")
    assert "stay together" not in capsys.readouterr().err


def test_one_patient_cannot_be_held_out(tmp_path):
    changed("MR_small.dcm", tmp_path / "0.dcm")
    changed("CT_small.dcm", tmp_path / "1.dcm", PatientID=pydicom.dcmread(FILES / "MR_small.dcm").PatientID)
    with pytest.raises(UserError, match=r"data.group=patient: 'train' is one group.*: data.holdout=0 holds"):
        data_of(tmp_path)


def test_a_group_is_a_part_of_a_path_that_nobody_sees(tmp_path):
    folder = planted(tmp_path / "set", *(f"{NAME}_{i}.dcm" for i in range(10)))
    data = data_of(folder, rf"data.group='{NAME[:7]}.*_(?P<group>\d)'", "data.holdout=0.5")
    assert data.groups("test").tolist() == [0, 2, 4, 6, 8]
    with pytest.raises(UserError) as error:
        data_of(folder, r"data.group='_(?P<group>1)'")
    assert "PLANTED" not in str(error.value)
    assert hidden(str(folder / f"{NAME}_0.dcm")) in str(error.value)


def test_a_text_without_a_path(tmp_path):
    """Pillow writes a path as Python does, tifffile its last part."""
    file = tmp_path / "PLANTED\\'\n.tif"
    for text in (f"no {file}", f"no {str(file)!r}", f"no <{file.name}>"):
        assert "PLANTED" not in without(text, str(file))
    assert without("no x", str(file)) == "no x"


def test_a_digest_is_the_same_with_the_same_cache_alone(tmp_path, monkeypatch):
    first = hidden(ID)
    assert hidden(ID) == first
    assert (tmp_path / "cache" / "key").stat().st_mode & 0o077 == 0
    monkeypatch.setenv("SSL_LAB_CACHE", str(tmp_path / "other"))
    assert hidden(ID) != first


def test_a_model_and_a_preview_see_files_as_the_run_does(tmp_path):
    folder = planted(tmp_path / "set", *(f"{i}.dcm" for i in range(10)))
    window = "data.window=[300,200]"
    run = ssl_lab(
        "pretrain",
        *GREY,
        f"data.path={folder}",
        window,
        "backbone.widths=[4]",
        "debug=one_batch",
        "logger=none",
        "data.batch_size=4",
    )
    model = package.load(str(run.folder))
    model.data.setup()
    rows = model.data.rows["train"]
    vectors = model.encode([rows[torch.arange(len(rows))]]).numpy()
    files = [folder / f"{i}.dcm" for i in range(1, 10)]
    np.testing.assert_allclose(model.embed(files), vectors, atol=1e-6)
    (preview,) = [model.data.split_of("train").preview(3)]
    values = pydicom.dcmread(folder / "3.dcm").pixel_array
    np.testing.assert_array_equal(np.asarray(preview.image)[..., 0], np.rint(255 * linear(values, 300, 200)))
    assert thumbnail({"path": str(folder / "3.dcm")}).size == (64, 64)
    with pytest.raises(UserError, match="is no image that can be read") as error:
        model.embed([tmp_path / f"{ID}.dcm"])
    assert ID not in str(error.value)


def test_a_window_has_a_width(tmp_path):
    done = ssl_lab("pretrain", *GREY, f"data.path={tmp_path}", "data.window=[40,0]", code=2)
    assert "data.window" in done.err
