"""Recordings end as the same waves, whatever file they came in, and what is bad is named; log-mels are librosa's."""

import io
import json
import struct
from dataclasses import replace

import librosa
import numpy as np
import pandas
import pytest
import soundfile
import torch
from command import ssl_lab

from ssl_lab import load
from ssl_lab.data.audio import Audio, padded
from ssl_lab.data.logmel import FLOOR, PADDING, LogMel, MelOptions
from ssl_lab.data.recordings import Recordings
from ssl_lab.data.sound import Form, SoundPreview, decode
from ssl_lab.errors import UsageError, UserError

RATE = 8000
MEL = MelOptions(window=0.032, hop=0.01, bands=40, lowest=60)
DEFAULTS = {
    "name": None, "rate": RATE, "seconds": 2.0, "mel": MEL, "batch_size": 4, "seed": 0, "train": "train",
    "bank": "train", "test": None, "holdout": 0.25, "max_bad": 0,
}  # fmt: skip


def audio(path, **options):
    data = Audio(Recordings, path=str(path), **{**DEFAULTS, **options})
    data.setup()
    return data


def tone(hertz=440.0, seconds=1.0, rate=RATE, loud=0.5):
    return (loud * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def voice(seed, seconds=0.5):
    """Noise whose loudness and colour change: no two alike."""
    rng = np.random.default_rng(seed)
    return (0.1 * rng.standard_normal(round(seconds * RATE)) + tone(200 + 50 * seed, seconds, loud=0.3)).astype(
        np.float32
    )


@pytest.fixture
def folder(tmp_path):
    """Two classes of six clips of unequal length, in four formats."""
    for i in range(12):
        kind = ("wav", "flac", "ogg", "mp3")[i % 4]
        (tmp_path / "clips" / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
        soundfile.write(tmp_path / "clips" / "ab"[i % 2] / f"{i:02}.{kind}", voice(i, 0.3 + 0.05 * i), RATE)
    return tmp_path / "clips"


@pytest.mark.parametrize(
    ("rate", "window", "hop", "bands", "lowest", "highest"),
    [(8000, 0.032, 0.01, 40, 60, None), (16_000, 0.025, 0.01, 80, 0, 7600), (22_050, 0.0464, 0.0116, 128, 0, None)],
)
def test_log_mels_are_those_of_librosa(rate, window, hop, bands, lowest, highest):
    wave = np.random.default_rng(0).uniform(-0.5, 0.5, rate).astype(np.float32)
    mel = LogMel(rate, MelOptions(window, hop, bands, lowest, highest))
    power = librosa.feature.melspectrogram(
        y=wave, sr=rate, n_fft=mel.fft, win_length=mel.window, hop_length=mel.hop, pad_mode="constant", n_mels=bands,
        fmin=lowest, fmax=highest or rate / 2,
    )  # fmt: skip
    expected = np.log(np.maximum(power, FLOOR))
    np.testing.assert_allclose(mel(torch.from_numpy(wave)[None])[0, 0], expected, atol=1e-4)
    normalised = mel.normalised(-2.0, 3.0)(torch.from_numpy(wave)[None])[0, 0]
    np.testing.assert_allclose(normalised, (expected + 2) / 3, atol=1e-4)


def test_bands_of_a_clip_are_centred_on_request_whatever_follows_it():
    waves = torch.from_numpy(np.random.default_rng(0).uniform(-0.5, 0.5, (2, 4000)).astype(np.float32))
    waves[1, 2400:] = 0
    centred, plain = LogMel(RATE, replace(MEL, centred=True)), LogMel(RATE, MEL)
    length = torch.tensor([4000, 2400])
    made, before = centred.padded(waves, length), plain.padded(waves, length)
    for one, other, frames in zip(made, before, (51, 31), strict=True):
        expected = other[0, :, :frames] - other[0, :, :frames].mean(1, keepdim=True)
        torch.testing.assert_close(one[0, :, :frames], expected, atol=1e-4, rtol=1e-4)
        assert (one[0, :, frames:] == PADDING).all()


def test_silence_is_a_number_and_bands_that_cannot_be_told_apart_are_refused():
    assert LogMel(RATE, MEL)(torch.zeros(1, 800)).unique().tolist() == pytest.approx([np.log(FLOOR)])
    with pytest.raises(UsageError, match=r"data.mel.bands=200: \d+ of the bands are narrower"):
        LogMel(RATE, MelOptions(0.032, 0.01, 200, 60))
    with pytest.raises(UsageError, match=r"between 0 and half of data\.rate=8000, 4000 Hz"):
        LogMel(RATE, MelOptions(0.032, 0.01, 40, 60, 5000))


@pytest.mark.parametrize(
    ("kind", "subtype", "apart"),
    [("WAV", one, 0.01) for one in ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE")]
    + [("WAVEX", "PCM_24", 1e-3), ("WAV", "ULAW", 0.02), ("FLAC", "PCM_16", 1e-3), ("AIFF", "PCM_16", 1e-3)]
    + [("OGG", "VORBIS", 0.1), ("MP3", "MPEG_LAYER_III", 0.1)],
)
def test_every_kind_of_file_is_read_by_its_content(kind, subtype, apart, tmp_path):
    """All are called .wav, as people do."""
    soundfile.write(tmp_path / "a.wav", tone(), RATE, format=kind, subtype=subtype)
    wave = decode({"path": str(tmp_path / "a.wav")}, Form(RATE, None)).wave
    np.testing.assert_allclose(wave[1000:7000], tone()[1000:7000], atol=apart)
    content = (tmp_path / "a.wav").read_bytes()
    np.testing.assert_array_equal(decode({"bytes": content, "path": None}, Form(RATE, None)).wave, wave)


def test_other_rates_and_channels_become_one(tmp_path, capfd):
    soundfile.write(tmp_path / "a.wav", np.stack([tone(rate=44_100), tone(rate=44_100)], 1), 44_100)
    soundfile.write(tmp_path / "b.wav", tone(seconds=3), RATE)
    soundfile.write(tmp_path / "c.wav", np.sign(tone(seconds=0.5)), RATE)
    rows = audio(tmp_path, holdout=0).rows["train"]
    said = capfd.readouterr().err
    assert "1 recordings are resampled to 8,000 Hz (1 from 44,100)" in said
    assert "1 recordings of several channels are averaged to one" in said
    assert "1 recordings are longer than 2 s (data.seconds): so much of each is read" in said
    assert "1 recordings are clipped: over 1 % of their values are at full scale" in said
    assert rows.lengths.tolist() == [8000, 16_000, 4000]
    np.testing.assert_allclose(rows.waves[0][1000:7000], tone()[1000:7000], atol=2e-3)
    audio(tmp_path, holdout=0)
    assert "resampled" in capfd.readouterr().err  # from the cache as well


def cut(content):
    return content[: len(content) // 2]


def claims(size):
    def change(content):
        place = content.index(b"data") + 4
        return content[:place] + struct.pack("<I", size) + content[place + 4 :]

    return change


BAD = {
    "cut.wav": (tone(), {}, cut, "shorter or longer than its header says: was it cut off?"),
    "more.wav": (tone(), {}, claims(64_000), "shorter or longer than its header says"),
    "less.wav": (tone(), {}, claims(4_000), "shorter or longer than its header says"),
    "cut.flac": (tone(), {}, cut, "lost sync"),
    "cut.ogg": (tone(), {}, cut, "shorter or longer than its header says"),
    "cut.mp3": (tone(), {}, cut, "it is cut off after 0.2"),
    "words.wav": (tone(), {}, lambda content: b"these are words, and no sound", "Format not recognised"),
    "nothing.wav": (tone(), {}, lambda content: b"", "Format not recognised"),
    "empty.wav": (tone(seconds=0), {}, None, "it is empty"),
    "silent.wav": (0 * tone(), {}, None, "it is silent"),
    "nan.wav": (np.where(np.arange(8000) == 7, np.nan, tone()), {"subtype": "FLOAT"}, None, "that are no numbers"),
    "inf.wav": (np.where(np.arange(8000) == 7, np.inf, tone()), {"subtype": "FLOAT"}, None, "that are no numbers"),
    "short.wav": (tone(seconds=0.01), {}, None, "its 0.01 s are shorter than a window of 0.032 s"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_recordings_are_named_counted_and_left_out(name, folder, capfd):
    wave, options, change, reason = BAD[name]
    file = folder / "a" / name
    soundfile.write(file, wave, RATE, **options)
    if change:
        file.write_bytes(change(file.read_bytes()))
    with pytest.raises(UserError, match="1 of 13 recordings could not be decoded") as error:
        audio(folder)
    assert f"{file}: " in str(error.value)
    assert reason in str(error.value)
    data = audio(folder, max_bad=1, holdout=0)
    assert "they are left out" in capfd.readouterr().err
    assert len(data.rows["train"]) == 12
    assert name not in "".join(data.rows["train"].columns["file"])


def test_what_was_written_into_a_pipe_is_read(tmp_path):
    file = io.BytesIO()
    soundfile.write(file, tone(), RATE, format="WAV")
    content = claims(0xFFFFFFFF)(file.getvalue())
    assert len(decode({"bytes": content, "path": None}, Form(RATE, None)).wave) == 8000


def test_batches_are_padded_with_zeros_and_say_the_length(folder):
    data = audio(folder, holdout=0)
    rows = data.rows["train"]
    batch = rows[torch.tensor([5, 0])]
    assert batch["length"].tolist() == [len(rows.waves[5]), len(rows.waves[0])]
    for wave, length, row in zip(batch["wave"], batch["length"], (5, 0), strict=True):
        np.testing.assert_array_equal(wave[:length], rows.waves[row])
        assert (wave[length:] == 0).all()
    assert batch["label"].tolist() == [0, 0]
    seen = torch.cat([batch["index"] for batch in data.loader("train")])
    assert seen.sort().values.tolist() == list(range(12))
    alone = [padded([rows.waves[row]]) for row in (5, 0)]
    torch.testing.assert_close(torch.cat([data.raw(one) for one in alone]), data.raw(batch))
    assert data.digests(batch).tolist() == [int(data.digests(one)) for one in alone]


def test_the_control_is_the_mean_and_the_deviation_of_the_log_mel(folder):
    data = audio(folder, holdout=0)
    batch = data.rows["train"][torch.tensor([3])]
    log_mel = LogMel(RATE, MEL)(batch["wave"])[0, 0]
    expected = torch.cat([log_mel.mean(1), log_mel.std(1, correction=0)])
    torch.testing.assert_close(data.raw(batch)[0], expected, atol=1e-4, rtol=1e-4)


def test_the_statistics_are_those_of_the_training_clips_and_go_with_the_run(folder, tmp_path):
    data = audio(folder)
    values = torch.cat([LogMel(RATE, MEL)(torch.from_numpy(data.rows["train"].waves[i])[None]).flatten()
                        for i in data.rows["train"].index.tolist()])  # fmt: skip
    assert (data.mel.mean, data.mel.std) == pytest.approx((float(values.mean()), float(values.std())), rel=1e-3)
    data.save(tmp_path)
    restored = Audio.restored({"statistics": None, "rate": RATE}, tmp_path)
    assert restored == {"statistics": [data.mel.mean, data.mel.std], "rate": RATE}


def test_a_table_of_recordings_keeps_its_columns_and_labels(tmp_path):
    import datasets

    files = []
    for i in range(6):
        files.append(io.BytesIO())
        soundfile.write(files[-1], voice(i), RATE, format="WAV")
    rows = {"clip": [{"bytes": file.getvalue(), "path": f"{i}.wav"} for i, file in enumerate(files)],
            "label": ["no", "yes"] * 3}  # fmt: skip
    (tmp_path / "set").mkdir()
    table = datasets.Dataset.from_dict(rows).cast_column("clip", datasets.Audio(decode=False))
    table.to_parquet(tmp_path / "set" / "train.parquet")
    data = audio(tmp_path / "set", holdout=0)
    assert data.classes == ["no", "yes"]
    for i in range(6):
        np.testing.assert_allclose(data.rows["train"].waves[i], voice(i), atol=1e-3)
    plain = pandas.DataFrame({"audio": rows["clip"], "label": rows["label"]})  # without the features of `datasets`
    (tmp_path / "plain").mkdir()
    plain.to_parquet(tmp_path / "plain" / "train.parquet")
    assert len(audio(tmp_path / "plain", holdout=0).rows["train"]) == 6


def test_hidden_paths_are_in_no_error(folder):
    data = audio(folder, hide_paths=True, holdout=0)
    assert str(folder) not in "".join(data.rows["train"].columns["file"])
    with pytest.raises(UserError, match="is no recording that can be read") as error:
        list(data.prepare([folder / "nowhere.wav"]))
    assert "nowhere" not in str(error.value)


def test_a_preview_is_heard_and_seen():
    preview = SoundPreview(tone(), RATE)
    assert preview.line == "1.00 s"
    assert "<audio controls" in preview.html
    content = preview.html.split("data:audio/mpeg;base64,")[1].split('"')[0]
    import base64

    heard, rate = soundfile.read(io.BytesIO(base64.b64decode(content)))
    assert rate == RATE
    assert np.abs(np.fft.rfft(heard[:RATE])).argmax() == pytest.approx(440, abs=3)
    pixels = np.asarray(preview.picture)
    brightest = pixels.sum(2).mean(1).argmax()
    expected = LogMel(RATE, MelOptions(0.032, 0.01, 64, 50))(torch.from_numpy(tone())[None])[0, 0].mean(1).argmax()
    assert brightest == 63 - int(expected)  # low tones are below


def test_from_a_folder_of_recordings_to_a_search_by_one(folder):
    """Another objective than the default, files that were not in the set, and what a person would hear."""
    small = ["backbone=audio_small", "backbone.widths=[4,8]", "data.batch_size=4", "data.rate=8000"]
    run = ssl_lab(
        "pretrain", "objective=byol", "data=audio_folder", f"data.path={folder}", *small, "views.augment.seconds=0.3",
        "trainer.max_epochs=1", "logger=none", "scores.health_rows=8",
    ).folder  # fmt: skip
    assert (run / "views.png").is_file()
    assert json.loads((run / "summary.json").read_text())["knn"] >= 0
    statistics = json.loads((run / "log_mel.json").read_text())["statistics"]
    model = load(str(run))
    assert [model.data.mel.mean, model.data.mel.std] == statistics
    collection = ssl_lab("embed", f"run={run}").folder
    file = folder / "a" / "00.wav"
    found = ssl_lab("search", f"collection={collection}", f"query={file}", "k=3", "output=json")
    hits = json.loads(found.out.splitlines()[0])
    assert hits[0]["from"] == str(file)
    assert hits[0]["similarity"] == pytest.approx(1, abs=1e-4)
    page = (found.folder / "hits.html").read_text()
    assert page.count("<audio controls") == 4  # the query, and three hits
    assert page.count("data:image/webp") == 4
    np.testing.assert_allclose(
        model.embed([file])[0], model.embed([soundfile.read(file, dtype="float32")[0]])[0], atol=1e-5
    )
    with pytest.raises(UserError, match=r"a sound is a path, or numbers \(t,\) at 8000 samples a second"):
        model.embed([np.zeros((2, 8000))])
    with pytest.raises(UserError, match=r"nowhere\.wav is no recording that can be read"):
        model.embed(["nowhere.wav"])
    failed = ssl_lab("export", f"run={run}", "format=onnx", code=2)
    assert "format=onnx is not made for clips: choose safetensors" in failed.err
    exported = ssl_lab("export", f"run={run}").folder / "model"
    np.testing.assert_allclose(load(str(exported)).embed([file]), model.embed([file]), atol=1e-6)


def test_padding_is_never_taken_for_a_sound():
    mel = LogMel(RATE, MEL, mean=-8.0, std=3.0)
    loud = mel.padded(torch.from_numpy(np.stack([voice(0), voice(1)])), torch.tensor([4000, 2000]))
    assert (loud[0] > PADDING / 2).all()
    assert (loud[1, 0, 0] <= PADDING / 2).sum() == 4000 // 80 - 2000 // 80
