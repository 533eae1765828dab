"""Makes `import torchvision` work beside a torch without CUDA, to which its wheel is linked: import this before it.

Its compiled operators do not load then, and its import dies because one is not even declared. Declared, it suffices for
transforms, which never call it.
"""

import torch

DECLARED = torch.library.Library("torchvision", "FRAGMENT")  # as long as this module lives
if not torch.version.cuda:
    for name in ("nms", "qnms"):
        DECLARED.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
