"""Views of recordings, against loops; nets over them, which do not see the padding."""

import json
import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from ssl_lab.backbone.audio import AudioConvNet, AudioTransformer
from ssl_lab.backbone.hub_audio import HubAudio
from ssl_lab.data.logmel import PADDING, LogMel, MelOptions
from ssl_lab.errors import UsageError
from ssl_lab.randomness import Draw
from ssl_lab.views import perturb_sounds
from ssl_lab.views.audio_byola import AudioBYOLA, fade, mix_up
from ssl_lab.views.audio_crops import AudioCrops
from ssl_lab.views.audio_waves import AudioWaves
from ssl_lab.views.sounds import BLOCK, crop, partners, warp

RATE = 8000
MEL = LogMel(RATE, MelOptions(0.032, 0.01, 40, 60), mean=-8.0, std=3.0)
OFF = {
    "seconds": 0.5, "share": [1.0, 1.0], "polarity": 0.0, "gain": [0.0, 0.0], "mix": 0.0, "mix_below": [5.0, 5.0],
    "noise": 0.0, "noise_below": [10.0, 10.0], "pitch": [1.0, 1.0], "tempo": [1.0, 1.0], "tilt": 0.0, "masks": 0,
    "mask_bands": 0.3, "mask_frames": 0.3,
}  # fmt: skip


@pytest.fixture
def batch():
    waves = torch.from_numpy(np.random.default_rng(0).uniform(-0.5, 0.5, (16, 8000)).astype(np.float32))
    length = torch.linspace(2400, 8000, 16).long()
    return {"wave": torch.where(torch.arange(8000) < length[:, None], waves, 0), "length": length}


def views(batch, **options):
    return AudioCrops(MEL, {**OFF, **options})(batch, Draw(0, 0))["views"]


def real(view):
    return view[view > PADDING / 2]


def test_a_crop_is_a_part_of_its_clip(batch):
    for share in ((1.0, 1.0), (0.3, 0.6)):
        taken, length = crop(batch["wave"], batch["length"], 3000, Draw(1, 2), share)
        assert taken.shape == (16, 3000)
        for one, n, wave, whole in zip(taken, length, batch["wave"], batch["length"].tolist(), strict=True):
            n = int(n)
            assert math.floor(share[0] * min(whole, 3000)) <= n <= min(3000, math.ceil(share[1] * whole))
            assert any(torch.equal(one[:n], wave[start : start + n]) for start in range(whole - n + 1))
            assert (one[n:] == 0).all()


def test_without_any_operation_a_view_is_the_log_mel_of_a_crop(batch):
    expected = MEL.padded(*crop(batch["wave"], batch["length"], 4000, Draw(0, 0)))
    torch.testing.assert_close(views(batch)[0], expected, atol=1e-4, rtol=1e-4)


def test_gain_and_polarity_change_the_loudness_alone(batch):
    plain, louder = views(batch), views(batch, gain=[20.0, 20.0], polarity=1.0)
    torch.testing.assert_close(
        real(louder) - real(plain), torch.full_like(real(plain), math.log(100) / 3), atol=1e-3, rtol=0
    )


def test_noise_is_so_many_decibels_below_the_sound(batch):
    snr = torch.linspace(-5, 25, 16)
    noisy = perturb_sounds.add_noise(batch["wave"], batch["length"], snr, Draw(0, 0))
    perturb_sounds.ended(noisy, batch["length"])
    for before, after, length, wanted in zip(batch["wave"], noisy, batch["length"], snr, strict=True):
        noise = (after - before)[:length]
        assert (after[length:] == 0).all()
        measured = 10 * torch.log10(before[:length].square().mean() / noise.square().mean())
        assert float(measured) == pytest.approx(float(wanted), abs=0.3)
        spectrum = torch.fft.rfft(noise).abs().square()
        low, high = spectrum[: len(spectrum) // 2].mean(), spectrum[len(spectrum) // 2 :].mean()
        assert float(low / high) == pytest.approx(1, abs=0.25)


def test_white_noise_has_power_one_and_processes_share_it():
    whole = Draw(3, 4).white(8, 4001)
    assert float(whole.mean()) == pytest.approx(0, abs=0.02)
    assert float(whole.square().mean()) == pytest.approx(1, abs=0.02)
    assert float(whole.abs().max()) <= 3**0.5  # uniform
    assert float((whole[:, 1:] * whole[:, :-1]).mean()) == pytest.approx(0, abs=0.02)
    halves = [Draw(3, 4, rank, 2).white(4, 4001) for rank in range(2)]
    assert torch.equal(torch.cat(halves), whole)


@pytest.mark.parametrize("rows", [16, 12, 7, 1])
def test_partners_are_others_of_the_block_however_many_processes_there_are(rows):
    block = math.gcd(BLOCK, rows)
    found = partners(rows, Draw(3, 4))
    for i, other in enumerate(found.tolist()):
        assert other // block == i // block
        assert (other != i) == (block > 1)
    if rows == 16:
        halves = [partners(8, Draw(3, 4, rank, 2)) + 8 * rank for rank in range(2)]
        assert torch.cat(halves).tolist() == found.tolist()


def test_two_processes_see_what_one_would(batch):
    options = {**OFF, "share": [0.5, 1.0], "gain": [-6.0, 6.0], "polarity": 0.5, "mix": 0.7, "noise": 0.5,
               "pitch": [0.8, 1.2], "tempo": [0.8, 1.25], "tilt": 12.0, "masks": 2}  # fmt: skip
    for made in (AudioCrops(MEL, options), AudioBYOLA(MEL, 0.5, 0.4, (0.6, 1.5), (0.6, 1.5), 1.5, 1.0)):
        whole = made(batch, Draw(5, 6))["views"]
        for rank in range(2):
            part = {name: values[8 * rank : 8 * rank + 8] for name, values in batch.items()}
            torch.testing.assert_close(made(part, Draw(5, 6, rank, 2))["views"], whole[:, 8 * rank : 8 * rank + 8])


def test_another_clip_is_mixed_in_at_its_distance(batch):
    """In loops: the sum of both, the other one brought to so many decibels below."""
    made = AudioCrops(MEL, {**OFF, "mix": 1.0})
    draw = Draw(0, 0)
    taken, length = crop(batch["wave"], batch["length"], 4000, draw)
    draw.uniform(16), draw.uniform(16)  # polarity, gain
    partner = partners(16, draw)
    mixed = perturb_sounds.ended(made.pair[0]._mixed(taken, length, Draw(0, 0)), length)
    again = partners(16, Draw(0, 0))
    assert len(partner) == len(again)
    for row in range(16):
        n, other = int(length[row]), int(again[row])
        power = taken[row].square().sum() / n
        of_other = taken[other].square().sum() / length[other]
        expected = taken[row, :n] + taken[other, :n] * (power / of_other).sqrt() * 10 ** (-5 / 20)
        torch.testing.assert_close(mixed[row, :n], expected)
        assert (mixed[row, n:] == 0).all()


def test_a_stretched_mel_axis_moves_a_tone_and_tempo_shortens_the_clip():
    tone = torch.sin(2 * torch.pi * 1000 * torch.arange(8000) / RATE)[None]
    batch = {"wave": tone, "length": torch.tensor([3200])}
    plain, moved = views(batch)[0, 0, 0], views(batch, pitch=[0.8, 0.8])[0, 0, 0]
    place, other = (one[:, :20].mean(1).argmax().item() for one in (plain, moved))
    assert (other + 0.5) * 0.8 == pytest.approx(place + 0.5, abs=0.6)
    faster = views(batch, tempo=[1.25, 1.25])[0, 0, 0]
    heard = [(one[0] > PADDING / 2).sum().item() for one in (plain, faster)]
    assert heard[0] / heard[1] == pytest.approx(1.25, abs=0.05)


def test_warp_is_the_identity_or_what_torch_interpolates():
    images = torch.rand(3, 1, 10, 20)
    zero = torch.zeros(3)
    whole = (zero, zero + 10), (zero, zero + 20)
    torch.testing.assert_close(warp(images, *whole, (10, 20)), images)
    expected = F.interpolate(images, (5, 40), mode="bilinear", align_corners=False)
    torch.testing.assert_close(warp(images, *whole, (5, 40)), expected)
    outside = warp(images, (zero, zero + 10), (zero + 40, zero + 20), (10, 20), outside="zeros")
    assert (outside == 0).all()


def test_a_tilt_is_a_line_over_the_bands_and_masks_are_bands_and_frames(batch):
    tilted = views(batch, tilt=20.0)[0] - views(batch)[0]
    for one, length in zip(tilted, batch["length"], strict=True):
        slope = one[0, :, : min(int(length), 4000) // 80 - 1]
        steps = slope.diff(dim=0)
        assert steps.std() < 1e-4
        assert abs(float(steps.mean()) * 39) <= 20 * math.log(10) / 10 / 3 + 1e-3
    masked, plain = views(batch, masks=1)[0], views(batch)[0]
    for one, before in zip(masked, plain, strict=True):
        sound = before[0, 0] > PADDING / 2
        zero = one[0][:, sound] == 0
        bands, frames = zero.all(1), zero.all(0)
        assert torch.equal(zero, bands[:, None] | frames)
        assert bands.sum() <= 0.3 * 40 + 1
        assert frames.sum() <= 0.3 * 51 + 1
    assert (masked == 0).any()


def test_byola_mixes_in_the_log_domain_and_fades_in_time():
    x, other = torch.randn(4, 1, 6, 9), torch.randn(4, 1, 6, 9)
    share = torch.tensor([0.0, 0.1, 0.3, 0.4])[:, None, None, None]
    expected = np.log((1 - share.numpy()) * np.exp(x.numpy()) + share.numpy() * np.exp(other.numpy()))
    np.testing.assert_allclose(mix_up(x, other, share), expected, atol=1e-5)
    ends = torch.tensor([[0.0, 1.0], [-1.0, 1.0], [0.5, 0.5], [1.0, 0.0]])
    line = np.stack([np.linspace(*pair, 9) for pair in ends.tolist()])
    np.testing.assert_allclose(fade(x, ends), x.numpy() + line[:, None, None], atol=1e-5)


def test_byola_crops_lie_in_a_wider_place(batch):
    """With crops of the whole at the middle alone, nothing is moved; with others, something is."""
    still = AudioBYOLA(MEL, 0.5, 0.0, (1.0, 1.0), (1.0, 1.0), 1.0, 0.0)
    expected = MEL(crop(batch["wave"], batch["length"], 4000, Draw(0, 0))[0])
    made = still(batch, Draw(0, 0))["views"]
    torch.testing.assert_close(made[0], expected, atol=1e-4, rtol=1e-4)
    moving = AudioBYOLA(MEL, 0.5, 0.0, (0.6, 1.5), (0.6, 1.5), 1.5, 0.0)
    moved = moving(batch, Draw(0, 0))["views"]
    assert moved.shape == made.shape
    assert not torch.allclose(moved[0], moved[1])


def test_a_perturbation_changes_what_it_says(batch):
    changed = {
        name: one.apply(batch, one.strengths[-1], Draw(0, 0)) for name, one in perturb_sounds.sounds(RATE).items()
    }
    ratio = changed["gain"]["wave"].square().sum(1) / batch["wave"].square().sum(1)
    assert sorted({round(10 * math.log10(value)) for value in ratio.tolist()}) == [-20, 20]
    assert changed["shift"]["length"].tolist() == [n - int(0.4 * n) for n in batch["length"].tolist()]
    for before, after, n in zip(batch["wave"], changed["shuffle"]["wave"], batch["length"].tolist(), strict=True):
        size = n // 8
        pieces = {tuple(piece.tolist()) for piece in before[: 8 * size].view(8, size)}
        assert {tuple(piece.tolist()) for piece in after[: 8 * size].view(8, size)} == pieces
        assert torch.equal(before[8 * size :], after[8 * size :])


def hub(tmp_path, norm):
    config = {
        "model_type": "wav2vec2", "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
        "intermediate_size": 32, "conv_dim": [8, 8], "conv_stride": [20, 16], "conv_kernel": [40, 16],
        "num_feat_extract_layers": 2, "feat_extract_norm": norm, "num_conv_pos_embeddings": 4,
        "num_conv_pos_embedding_groups": 2, "do_stable_layer_norm": norm == "layer",
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(config))
    return HubAudio(str(tmp_path), LogMel(16_000, MEL.options), pretrained=False)


NETS = {
    "convolutions": lambda _: AudioConvNet(MEL, [4, 8, 16]),
    "transformer": lambda _: AudioTransformer(MEL, 4, 16, 2, 2),
    "hub, layer norm": lambda folder: hub(folder, "layer"),
    "hub, group norm": lambda folder: hub(folder, "group"),
}


@pytest.mark.parametrize("name", NETS)
def test_a_clip_has_the_vector_that_it_has_alone(name, batch, tmp_path):
    torch.manual_seed(0)
    net = NETS[name](tmp_path).eval()
    plain = AudioWaves(MEL, 0.5, (10, 10)).plain if net.reads == "wave" else AudioCrops(MEL, OFF).plain
    with torch.no_grad():
        together = net(plain(batch)["input"])
        for row in range(0, 16, 5):
            n = int(batch["length"][row])
            alone = {"wave": batch["wave"][row : row + 1, :n], "length": torch.tensor([n])}
            torch.testing.assert_close(net(plain(alone)["input"])[0], together[row], atol=2e-5, rtol=1e-4)
    assert together.shape == (16, net.width)
    assert together.std(0).mean() > 1e-4  # and clips differ


def test_waves_for_hub_encoders_have_mean_0_and_deviation_1(batch):
    made = AudioWaves(MEL, 0.5, (10.0, 40.0))
    for rows in (made.plain(batch)["input"], *made(batch, Draw(0, 0))["views"]):
        for row in rows:
            sound = row[row > PADDING / 2]
            assert float(sound.mean()) == pytest.approx(0, abs=1e-4)
            assert float(sound.std(correction=0)) == pytest.approx(1, abs=1e-3)


def test_other_encoders_and_rates_are_refused(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert", "num_hidden_layers": 1, "hidden_size": 12}))
    with pytest.raises(UsageError, match="is a bert, which reads no waves: choose one of data2vec-audio"):
        HubAudio(str(tmp_path), LogMel(16_000, MEL.options), pretrained=False)
    hub(tmp_path, "layer")
    with pytest.raises(UsageError, match=r"reads 16,000 samples a second: data\.rate=16000"):
        HubAudio(str(tmp_path), MEL, pretrained=False)
