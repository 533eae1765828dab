"""The compiled kernel of views against matrices and Pillow; what happens where it cannot be compiled or kept."""

import functools
import multiprocessing
import sys
from pathlib import Path

import numba
import numpy as np
import pytest
import torch
from PIL import Image
from test_views import OFF, ON, from_pil, images, pil

from ssl_lab.randomness import Draw
from ssl_lab.views import compiled
from ssl_lab.views.shown import Drawn, in_matrices, shown, sizes
from ssl_lab.views.two_crops import Augment, TwoCrops


def pixels(*shape, seed=0):
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def both(x, size, options, step=0):
    """By the kernel, then in matrices, in [0, 1]."""
    drawn = Augment(**options).draw(sizes(x), len(x), size, Draw(0, step))
    nothing = torch.zeros(len(x[0]), 1, 1)
    assert compiled.kernel(x[0].dtype)
    return shown(x, [drawn], nothing, nothing + 1)[0], in_matrices(x, drawn)


@pytest.mark.parametrize("channels", [1, 3, 5])
@pytest.mark.parametrize(("height", "width", "size"), [(24, 24, 24), (90, 40, 16), (11, 17, 48), (2, 3, 2), (9, 9, 1)])
def test_the_kernel_is_the_matrices(channels, height, width, size):
    options = ON | {"rotation": 0.0, "solarize": 0.5, "hue": 0.3, "blur": 0.5 if size > 1 else 0.0, "blur_kernel": 0.9}
    for step in range(3):
        ours, theirs = both(pixels(12, channels, height, width, seed=step), size, options, step)
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)


def test_the_kernel_turns_as_the_matrices_do():
    torch.testing.assert_close(*both(pixels(16, 3, 24, 24), 32, ON | {"rotation": 180.0}), atol=1e-5, rtol=0)


def test_other_pixels_are_shares_of_their_greatest():
    small = torch.rand(4, 3, 20, 20)
    for wide in (small, (65_535 * small).to(torch.uint16)):
        torch.testing.assert_close(*both(wide, 16, ON | {"rotation": 0.0}), atol=1e-5, rtol=0)


def test_images_of_sizes_of_their_own_are_shown_as_each_alone(monkeypatch):
    apart = [pixels(3, height, width, seed=height) for height, width in ((40, 60), (9, 7), (33, 120), (24, 24))]
    drawn = Augment(**ON | {"blur": 1.0}).draw(sizes(apart), 4, 24, Draw(0, 0))
    nothing = torch.zeros(3, 1, 1)
    alone = torch.cat([in_matrices(x[None], drawn.of(i)) for i, x in enumerate(apart)])
    torch.testing.assert_close(shown(apart, [drawn], nothing, nothing + 1)[0], alone, atol=1e-5, rtol=0)
    monkeypatch.setattr(compiled, "kernel", lambda pixels: None)
    torch.testing.assert_close(shown(apart, [drawn], nothing, nothing + 1)[0], alone)
    assert (drawn.boxes[:, 2:] <= sizes(apart)).all()


@pytest.mark.parametrize("box", [(0, 0, 32, 32), (3, 5, 20, 27), (8, 8, 4, 5)])
@pytest.mark.parametrize("size", [8, 32, 48])
def test_the_kernel_crops_and_resizes_as_pillow(box, size):
    x = images(1)
    top, left, h, w = box
    drawn = Augment(**OFF).draw(sizes(x), 1, size, Draw(0, 0))
    drawn = Drawn(**vars(drawn) | {"boxes": torch.tensor([box], dtype=torch.float32)})
    ours = shown((255 * x).round().byte(), [drawn], torch.zeros(3, 1, 1), torch.ones(3, 1, 1))[0, 0]
    theirs = pil(x[0]).crop((left, top, left + w, top + h)).resize((size, size), Image.Resampling.BILINEAR)
    torch.testing.assert_close(ours, from_pil(theirs), atol=2.5 / 255, rtol=0)  # Pillow rounds twice to 8 bits


def views_of(x, step=1):
    return TwoCrops(16, [0.4] * 3, [0.2] * 3, ON, {"blur": 0.0}, {"count": 1, "size": 8})({"image": x}, Draw(0, step))


def test_any_number_of_threads_and_a_forked_process_make_the_same_bits(monkeypatch):
    x = pixels(7, 3, 20, 20)
    alone = views_of(x)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    threads = views_of(x)
    with multiprocessing.get_context("fork").Pool(1) as pool:
        forked = pool.apply(in_a_fork, (x.numpy(),))
    for key in ("views", "local"):
        assert torch.equal(threads[key], alone[key])
        assert np.array_equal(forked[key], alone[key].numpy())


def in_a_fork(x):
    made = views_of(torch.from_numpy(x))
    return {key: made[key].numpy() for key in ("views", "local")}


def test_without_numba_the_views_are_the_same_which_is_said_once(monkeypatch, capfd):
    x = pixels(5, 3, 20, 20)
    with_numba = views_of(x)
    monkeypatch.setitem(sys.modules, "numba", None)
    for name in ("kernel", "_numba_is_here"):  # as in a new process
        monkeypatch.setattr(compiled, name, functools.cache(getattr(compiled, name).__wrapped__))
    for made in (views_of(x), views_of(x)):
        torch.testing.assert_close(made["views"], with_numba["views"], atol=1e-4, rtol=0)  # of a deviation of 0.2
    assert capfd.readouterr().err.count("without numba") == 1


def test_what_was_compiled_is_made_again_where_it_is_damaged_and_anew_where_nothing_can_be_kept(
    tmp_path, monkeypatch, capfd
):
    monkeypatch.setattr("ssl_lab.views.kernel.views", small)  # compiled at once
    monkeypatch.setattr("ssl_lab.views.kernel.SIGNATURE", "void({pixels}[::1])")
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "kept"))
    compile_again = compiled.kernel.__wrapped__
    assert compile_again(torch.uint8)
    (index,) = Path(tmp_path, "kept").rglob("*.nbi")
    assert capfd.readouterr().err == ""
    index.write_bytes(index.read_bytes()[:-20])
    array = np.zeros(3, np.uint8)
    compile_again(torch.uint8)(array)
    assert "is damaged: made again" in capfd.readouterr().err
    assert array.tolist() == [1, 1, 1]
    assert compile_again(torch.uint8)
    assert capfd.readouterr().err == ""
    (tmp_path / "file").touch()
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "file"))
    monkeypatch.setattr(numba.config, "CACHE_LOCATOR_CLASSES", "UserProvidedCacheLocator")
    compile_again(torch.uint8)(array)
    assert "compiled anew in every command" in capfd.readouterr().err
    assert array.tolist() == [2, 2, 2]


def small(pixels):
    for i in range(len(pixels)):
        pixels[i] += 1
