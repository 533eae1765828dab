"""Imports torchvision beside a torch without CUDA, for which its wheel has no compiled operators.

It would die for want of them, though transforms and models need none: here they are declared first, by their names.
"""

import torch

BOXES = ("roi_align", "roi_pool", "ps_roi_align", "ps_roi_pool", "deform_conv2d")

library = torch.library.Library("torchvision", "DEF")
for name in ("nms", *BOXES, *(f"_{name}_backward" for name in BOXES)):
    library.define(f"{name}(Tensor of_nothing) -> Tensor")

import torchvision.io  # noqa: E402

torchvision.io._HAS_VIDEO_OPT = False  # which lightly.data asks for, and newer ones do not have
