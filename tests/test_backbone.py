"""Backbones: one row each, with the number of parameters that its paper or reference implementation has."""

import math

import pytest
import torch

from ssl_lab.backbone.convnet import ConvNet
from ssl_lab.backbone.hub import Hub
from ssl_lab.backbone.resnet import ResNet
from ssl_lab.backbone.vit import ViT, positions
from ssl_lab.errors import UserError

# how it is made, its width, and its parameters: torchvision's (without the classifier) and timm's (without class token,
# learnt positions and classifier)
BACKBONES = {
    "convnet": (lambda: ConvNet(3, [32, 64, 128, 256]), 256, 9 * (3 * 32 + 32 * 64 + 64 * 128 + 128 * 256) + 2 * 480),
    "resnet18": (lambda: ResNet(3, "basic", [2, 2, 2, 2], "imagenet", 64), 512, 11_689_512 - 513_000),
    "resnet50": (lambda: ResNet(3, "bottleneck", [3, 4, 6, 3], "imagenet", 64), 2048, 25_557_032 - 2_049_000),
    "vit_tiny": (lambda: ViT(3, 16, 192, 12, 3), 192, 5_717_416 - 193_000 - 197 * 192 - 192),
    "vit_small": (lambda: ViT(3, 16, 384, 12, 6), 384, 22_050_664 - 385_000 - 197 * 384 - 384),
}


@pytest.mark.parametrize("name", BACKBONES)
def test_width_and_parameters(name):
    make, width, parameters = BACKBONES[name]
    net = make().eval()
    assert net.width == width
    assert sum(p.numel() for p in net.parameters()) == parameters
    features = net(torch.randn(2, 3, 64, 64))
    assert features.shape == (2, width)
    assert features.std() > 0


def test_a_grid_of_cells_tells_where_something_is_and_their_mean_is_the_feature_without_one():
    plain, cells = ConvNet(1, [4, 6]).eval(), ConvNet(1, [4, 6], grid=2).eval()
    cells.load_state_dict(plain.state_dict())
    image = torch.zeros(1, 1, 16, 16)
    image[..., 1:4, 1:4] = 1  # in the first of four cells
    by_cell = cells(image).view(6, 2, 2)
    empty = cells(torch.zeros(1, 1, 16, 16)).view(6, 2, 2)
    changed = (by_cell - empty).abs().sum(0)
    assert changed[0, 0] > 1e-3
    assert changed[1, 1] == 0
    assert cells.width == 24
    torch.testing.assert_close(by_cell.mean((1, 2)), plain(image)[0])


def test_small_stem_keeps_the_resolution():
    net = ResNet(1, "basic", [1], "small", 32)
    assert net.stem(torch.randn(1, 1, 32, 32)).shape[2:] == (32, 32)


def test_a_large_stem_on_small_images_is_warned_about(capsys):
    ResNet(1, "basic", [1], "imagenet", 32)
    assert "backbone.stem=small" in capsys.readouterr().err


def test_positions_are_sines_of_row_and_column():
    grid = positions(3, 5, 8)[0].view(3, 5, 8)
    for y, x in [(0, 0), (2, 4), (1, 3)]:
        expected = [f(a / 10_000 ** (i / 2)) for a in (y, x) for f in (math.sin, math.cos) for i in range(2)]
        assert grid[y, x].tolist() == pytest.approx(expected, abs=1e-5)


def test_vit_tells_where_a_patch_is_and_names_a_size_that_does_not_fit():
    net = ViT(1, 4, 16, 1, 2).eval()
    image = torch.zeros(1, 1, 8, 8)
    image[..., :4, :4] = 1
    assert not torch.allclose(net(image), net(image.flip(3)), atol=1e-5)
    with pytest.raises(UserError, match="patch=4 does not divide"):
        net(torch.zeros(1, 1, 9, 8))


def test_hub_gives_the_pooled_output_of_a_transformers_model(tmp_path):
    transformers = pytest.importorskip("transformers")
    config = transformers.ViTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, image_size=16, patch_size=8
    )
    theirs = transformers.ViTModel(config).eval()
    theirs.save_pretrained(tmp_path / "model")
    ours = Hub(str(tmp_path / "model")).eval()
    x = torch.randn(2, 3, 16, 16)
    assert ours.width == 16
    torch.testing.assert_close(ours(x), theirs(x).pooler_output)
    with pytest.raises(UserError, match=r"backbone\.name=nowhere/none could not be loaded"):
        Hub("nowhere/none")
