"""Views against torchvision's definitions, written out for one image in numpy and Pillow."""

import colorsys
import math

import numpy as np
import pytest
import torch
from parts import PARTS
from PIL import Image, ImageEnhance, ImageOps
from test_config import composed

from ssl_lab.config import build
from ssl_lab.data.base import Data, Source
from ssl_lab.randomness import Draw
from ssl_lab.views import colour, geometry
from ssl_lab.views.base import Views
from ssl_lab.views.sounds import BLOCK
from ssl_lab.views.two_crops import Augment, TwoCrops

OFF = {
    "area": (1.0, 1.0), "ratio": (1.0, 1.0), "flip": 0.0, "rotation": 0.0, "jitter": 0.0, "brightness": 0.0,
    "contrast": 0.0, "saturation": 0.0, "hue": 0.0, "grey": 0.0, "blur": 0.0, "blur_kernel": 0.1,
    "blur_sigma": (0.1, 2.0), "solarize": 0.0,
}  # fmt: skip
ON = OFF | {
    "area": (0.2, 1.0), "ratio": (0.75, 1.3333), "flip": 0.5, "rotation": 10.0, "jitter": 0.8, "brightness": 0.4,
    "contrast": 0.4, "saturation": 0.4, "hue": 0.1, "grey": 0.2, "blur": 0.5, "solarize": 0.2,
}  # fmt: skip


def images(b=4, c=3, h=32, w=32, seed=0):
    """Smooth images with all values in [0.2, 0.8], so that no operation clips."""
    small = torch.rand(b, c, 6, 6, generator=torch.Generator().manual_seed(seed))
    return 0.2 + 0.6 * torch.nn.functional.interpolate(small, (h, w), mode="bilinear")


def pil(image):
    return Image.fromarray((image * 255).round().byte().permute(1, 2, 0).squeeze(2).numpy())


def from_pil(image):
    array = torch.from_numpy(np.array(image)).float() / 255
    return array[None] if array.ndim == 2 else array.permute(2, 0, 1)


@pytest.mark.parametrize("channels", [1, 3])
def test_all_off_is_the_identity(channels):
    x = torch.rand(5, channels, 24, 24)
    torch.testing.assert_close(Augment(**OFF)(x, 24, Draw(0, 0)), x, atol=2e-6, rtol=0)


@pytest.mark.parametrize("box", [(0, 0, 32, 32), (3, 5, 20, 27), (10, 0, 7, 32), (8, 8, 4, 5)])
@pytest.mark.parametrize("size", [8, 24, 32, 48])
def test_crop_and_resize_are_pillows(box, size):
    top, left, h, w = box
    x = images(1)
    rows, columns = (
        geometry.resample(torch.tensor([float(start)]), torch.tensor([float(length)]), 32, size).dense(32)
        for start, length in ((top, h), (left, w))
    )
    ours = (rows[:, None] @ x @ columns[:, None].mT)[0]
    theirs = pil(x[0]).crop((left, top, left + w, top + h)).resize((size, size), Image.Resampling.BILINEAR)
    torch.testing.assert_close(ours, from_pil(theirs), atol=2.5 / 255, rtol=0)  # Pillow rounds twice to 8 bits


@pytest.mark.parametrize(("sigma", "radius"), [(0.1, 1), (0.7, 2), (2.0, 3)])
def test_blur_is_a_gaussian_with_reflected_borders(sigma, radius):
    x = images(1, 1, 16, 16)
    smooth = geometry.blur(geometry.gaussian(torch.tensor([sigma]), radius), 16)
    kernel = np.array([math.exp(-0.5 * (d / sigma) ** 2) for d in range(-radius, radius + 1)])
    kernel /= kernel.sum()
    padded = np.pad(x[0, 0].double().numpy(), radius, mode="reflect")
    expected = np.zeros((16, 16))
    for i in range(16):
        for j in range(16):
            window = padded[i : i + 2 * radius + 1, j : j + 2 * radius + 1]
            expected[i, j] = (np.outer(kernel, kernel) * window).sum()
    np.testing.assert_allclose((smooth @ x[0] @ smooth.mT)[0].numpy(), expected, atol=1e-5)


def test_sigma_zero_blurs_nothing():
    torch.testing.assert_close(geometry.blur(geometry.gaussian(torch.zeros(1), 2), 9), torch.eye(9)[None])


@pytest.mark.parametrize("degrees", [0.0, 90.0, 180.0, -90.0])
def test_right_angles_only_move_pixels(degrees):
    x = torch.rand(1, 3, 11, 11)
    turned = torch.rot90(x, int(degrees // 90), (2, 3))
    torch.testing.assert_close(geometry.rotate(x, torch.tensor([degrees])), turned, atol=1e-5, rtol=0)


def test_rotation_is_pillows_at_other_angles():
    x = images(1)
    theirs = from_pil(pil(x[0]).rotate(20, Image.Resampling.BILINEAR))
    ours = geometry.rotate(x, torch.tensor([20.0]))[0]
    inside = np.hypot(*np.meshgrid(np.arange(32) - 15.5, np.arange(32) - 15.5)) < 14
    assert (ours - theirs).abs()[:, torch.from_numpy(inside)].max() < 3 / 255


def jittered(x, order=(0, 1, 2, 3), **factors):
    neutral = {"brightness": 1.0, "contrast": 1.0, "saturation": 1.0, "hue": 0.0} | factors
    ranks = torch.tensor([[float(order.index(i)) for i in range(4)]]).expand(len(x), 4)
    maps = colour.jitter(order=ranks, **{key: torch.full((len(x),), value) for key, value in neutral.items()})
    return colour.apply(maps, x)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({"brightness": 0.7}, lambda im: ImageEnhance.Brightness(im).enhance(0.7)),
        ({"brightness": 1.2}, lambda im: ImageEnhance.Brightness(im).enhance(1.2)),
        ({"contrast": 0.6}, lambda im: ImageEnhance.Contrast(im).enhance(0.6)),
        ({"contrast": 1.2}, lambda im: ImageEnhance.Contrast(im).enhance(1.2)),
        ({"saturation": 0.0}, lambda im: ImageOps.grayscale(im).convert("RGB")),
        ({"saturation": 1.3}, lambda im: ImageEnhance.Color(im).enhance(1.3)),
    ],
)
def test_jitter_is_pillows(ours, theirs):
    x = images(1, seed=1)
    torch.testing.assert_close(jittered(x, **ours)[0], from_pil(theirs(pil(x[0]))), atol=3 / 255, rtol=0)


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (1, 0, 2, 3), (2, 1, 3, 0)])
def test_operations_come_in_the_order_asked_for(order):
    x = images(1, seed=2)
    apply = [ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color]
    factors = [0.8, 0.7, 1.2]
    image = pil(x[0])
    for operation in order:
        if operation < 3:
            image = apply[operation](image).enhance(factors[operation])
    ours = jittered(x, order, brightness=0.8, contrast=0.7, saturation=1.2)[0]
    torch.testing.assert_close(ours, from_pil(image), atol=4 / 255, rtol=0)


def hsv_turned(x, hue):
    out = x.clone()
    for i in range(x.shape[2]):
        for j in range(x.shape[3]):
            h, s, v = colorsys.rgb_to_hsv(*x[0, :, i, j].tolist())
            out[0, :, i, j] = torch.tensor(colorsys.hsv_to_rgb((h + hue) % 1, s, v))
    return out


@pytest.mark.parametrize("third", [-1 / 3, 1 / 3, 2 / 3])
def test_hue_is_that_of_hsv_at_every_third(third):
    x = torch.rand(1, 3, 8, 8)
    torch.testing.assert_close(jittered(x, hue=third), hsv_turned(x, third), atol=1e-5, rtol=0)


@pytest.mark.parametrize("hue", [-0.1, -0.05, 0.05, 0.1])
def test_hue_is_close_to_that_of_hsv_in_between(hue):
    """HSV moves one channel at a time, a turn all three: the same direction, up to 0.04 of 1 apart in the mean."""
    x = images(1, h=12, w=12)
    ours, theirs = jittered(x, hue=hue), hsv_turned(x, hue)
    assert (ours - theirs).abs().mean() < 0.04
    assert torch.cosine_similarity((ours - x).flatten(), (theirs - x).flatten(), dim=0) > 0.7


def test_hue_leaves_grey_alone_and_a_full_turn_changes_nothing():
    grey = torch.rand(2, 1, 5, 5).expand(2, 3, 5, 5)
    torch.testing.assert_close(jittered(grey, hue=0.3), grey, atol=1e-4, rtol=0)
    x = torch.rand(2, 3, 5, 5)
    torch.testing.assert_close(jittered(x, hue=1.0), x, atol=1e-4, rtol=0)


def test_a_grey_image_is_a_colour_image_with_equal_channels():
    x = torch.rand(6, 1, 20, 20)
    augment = Augment(**ON)
    torch.testing.assert_close(augment(x, 16, Draw(3, 1)), augment(x.expand(-1, 3, -1, -1), 16, Draw(3, 1))[:, :1])


def test_solarize_inverts_the_bright_half():
    x = images(3)
    expected = torch.where(x < 0.5, x, 1 - x)
    torch.testing.assert_close(Augment(**OFF | {"solarize": 1.0})(x, 32, Draw(0, 0)), expected, atol=1e-5, rtol=0)


def test_flip_mirrors_half_of_the_images():
    x = torch.rand(2000, 1, 6, 6)
    views = Augment(**OFF | {"flip": 0.5})(x, 6, Draw(0, 0))
    mirrored = ((views - x.flip(3)).abs().amax((1, 2, 3)) < 1e-5).float().mean()
    assert abs(mirrored - 0.5) < 4 * (0.25 / 2000) ** 0.5


def test_crops_are_distributed_as_random_resized_crop_says():
    """Against the loop in torchvision's documentation: area uniform, log ratio uniform, ten tries, then the middle."""
    area, ratio, size, n = (0.2, 1.0), (0.75, 4 / 3), 100, 20_000
    square = torch.tensor([[size, size]])
    boxes = geometry.crop_boxes(square, area, ratio, torch.rand(n, 22, generator=torch.Generator().manual_seed(0)))
    rng = np.random.default_rng(0)
    expected = []
    for _ in range(n):
        for _ in range(10):
            target, shape = size**2 * rng.uniform(*area), math.exp(rng.uniform(*np.log(ratio)))
            w, h = round(math.sqrt(target * shape)), round(math.sqrt(target / shape))
            if 0 < w <= size and 0 < h <= size:
                expected.append((rng.integers(0, size - h + 1), rng.integers(0, size - w + 1), h, w))
                break
    ours, theirs = boxes.numpy(), np.array(expected, float)
    for of in (lambda b: b[:, 0], lambda b: b[:, 1], lambda b: b[:, 2] * b[:, 3], lambda b: b[:, 3] / b[:, 2]):
        from scipy.stats import ks_2samp

        assert ks_2samp(of(ours), of(theirs)).statistic < 1.95 * (2 / n) ** 0.5  # p > 0.001


def test_where_no_crop_fits_the_middle_is_taken():
    box = geometry.crop_boxes(torch.tensor([[10, 100], [100, 10]]), (1.0, 1.0), (0.75, 4 / 3), torch.rand(2, 22))
    assert box.tolist() == [[0, 43, 10, 13], [43, 0, 13, 10]]


def test_draws_are_a_function_of_seed_and_step_sliced_by_rank():
    whole = Draw(1, 2).uniform(8, 3)
    parts = [Draw(1, 2, rank, 4).uniform(2, 3) for rank in range(4)]
    assert torch.equal(whole, torch.cat(parts))
    assert not torch.equal(whole, Draw(1, 3).uniform(8, 3))
    assert not torch.equal(whole, Draw(2, 2).uniform(8, 3))


def test_two_crops_have_a_parameter_set_each_and_local_crops_a_size():
    views = TwoCrops(16, [0.5] * 3, [0.25] * 3, OFF, second={"solarize": 1.0}, local={"count": 3, "size": 8})
    batch = {"image": (images(4, h=16, w=16) * 255).byte()}
    made = views(batch, Draw(0, 0))
    plain = views.plain(batch)["input"]
    assert made["views"].shape == (2, 4, 3, 16, 16)
    assert made["local"].shape == (3, 4, 3, 8, 8)
    torch.testing.assert_close(made["views"][0], plain, atol=1e-4, rtol=0)
    inverted = views.normalise(torch.where(views.restore(plain) >= 0.5, 1 - views.restore(plain), views.restore(plain)))
    torch.testing.assert_close(made["views"][1], inverted, atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", PARTS["views"])
def test_views_are_a_function_of_the_batch_and_the_draw_and_of_nothing_before(name, tmp_path):
    config = composed(f"views={name}", *PARTS["views"][name].overrides(tmp_path))
    data = build(config["data"], Data, Source)
    views = build(config["views"], Views, **data.context)
    batch = data.example(2 * BLOCK)  # items are mixed in blocks, which a process has whole
    made = views(batch, Draw(0, 1))
    assert made.keys() - batch.keys() == views.gives
    views(batch, Draw(0, 2))
    again = views(batch, Draw(0, 1))
    parts = [{k: v[BLOCK * i : BLOCK * i + BLOCK] for k, v in batch.items()} for i in range(2)]
    halves = [views(part, Draw(0, 1, i, 2)) for i, part in enumerate(parts)]
    for key in views.gives:
        assert torch.equal(made[key], again[key])
        dim = 1 if key in ("views", "local") else 0
        torch.testing.assert_close(torch.cat([half[key] for half in halves], dim), made[key])  # as two processes see it
