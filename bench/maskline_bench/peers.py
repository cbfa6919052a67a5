"""The two networks that are compared, with the same weights, and the real photographs that both see.

No trained weights can be had without a download, so the trunk's are random and made well-behaved (`_make_gentle`), and
every frozen batch norm gets the statistics of its input, as training would have given it. For serving the heads are
taught to find drawn objects (teach.py).

Letters: K foreground classes, G ground-truth objects, H W canvas.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import skimage.data
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor, nn
from torchvision.models.detection import MaskRCNN as TorchvisionMaskRCNN
from torchvision.models.detection.backbone_utils import _resnet_fpn_extractor
from torchvision.models.resnet import resnet50
from torchvision.ops import FrozenBatchNorm2d

NUM_CLASSES = 80  # K, as COCO
TRAINABLE_STAGES = 3  # of ResNet: what torchvision trains when it starts from weights; ours freezes the stem and res2
NORM_EPS = 1e-5  # of FrozenBatchNorm2d
_BRANCH_SCALE = 0.1  # of the last norm of a residual branch
_SMOOTH = 0.6  # share of a kernel that is smooth

Photograph = NDArray[np.uint8]  # [H, W, 3] RGB


def class_names() -> tuple[str, ...]:
    """Names of labels 1..K."""
    return tuple(f"class {index}" for index in range(1, NUM_CLASSES + 1))


def photographs(height: int, width: int) -> list[Photograph]:
    """Five photographs that scikit-image ships, cut to the shape's aspect ratio and resized to it."""
    names = ("astronaut", "coffee", "chelsea", "rocket")
    images = [getattr(skimage.data, name)() for name in names] + [skimage.data.stereo_motorcycle()[0]]
    return [_cut(Image.fromarray(image), height, width) for image in images]


def _cut(image: Image.Image, height: int, width: int) -> Photograph:
    """The largest centred part of the wanted aspect ratio, resized."""
    scale = min(image.width / width, image.height / height)
    part_w, part_h = min(width * scale, image.width), min(height * scale, image.height)  # less a rounding
    left, top = (image.width - part_w) / 2, (image.height - part_h) / 2
    box = (left, top, left + part_w, top + part_h)
    return np.asarray(image.resize((width, height), Image.Resampling.LANCZOS, box=box))


def jpeg(photograph: Photograph) -> bytes:
    """The photograph as a JPEG file of quality 90."""
    stream = io.BytesIO()
    Image.fromarray(photograph).save(stream, "JPEG", quality=90)
    return stream.getvalue()


def png(image: Image.Image) -> bytes:
    """The picture as a PNG file."""
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


def decode(file: bytes) -> Photograph:
    """The pixels of a file."""
    return np.asarray(Image.open(io.BytesIO(file)).convert("RGB"))


def made_targets(height: int, width: int, count: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Elliptic objects of many sizes: boxes [G, 4] xyxy px, labels [G] in 0..K-1, masks [G, H, W] uint8."""
    rng = np.random.default_rng(seed)
    masks = np.zeros((count, height, width), np.uint8)
    boxes = np.zeros((count, 4), np.float32)
    for index in range(count):
        # Sides from a twentieth to half of the picture, evenly by logarithm: small, medium and large ones.
        sides = np.array([width, height]) * 0.05 * 10 ** rng.uniform(0, 1, 2)
        x0, y0 = (rng.uniform(0, limit - side) for limit, side in zip((width, height), sides, strict=True))
        picture = Image.new("L", (width, height))
        ImageDraw.Draw(picture).ellipse((x0, y0, x0 + sides[0] - 1, y0 + sides[1] - 1), fill=1)
        masks[index] = np.asarray(picture)
        rows, columns = np.nonzero(masks[index])
        boxes[index] = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    labels = rng.integers(0, NUM_CLASSES, count)
    return torch.from_numpy(boxes), torch.from_numpy(labels), torch.from_numpy(masks)


def torchvision_network(**options: Any) -> TorchvisionMaskRCNN:
    """`maskrcnn_resnet50_fpn` as torchvision builds it to start from weights: frozen norms, three stages train."""
    backbone = _resnet_fpn_extractor(resnet50(weights=None, norm_layer=FrozenBatchNorm2d), TRAINABLE_STAGES)
    return TorchvisionMaskRCNN(backbone, NUM_CLASSES + 1, **options)


def torchvision_model(images: Sequence[Photograph], *, seed: int = 0, **options: Any) -> TorchvisionMaskRCNN:
    """`torchvision_network` with random weights and calibrated batch norms.

    Args:
        images: what the batch norms are calibrated on, all of one shape.
        seed: of the weights.
        options: further arguments of torchvision's MaskRCNN, e.g. `min_size`.
    """
    torch.manual_seed(seed)
    model = torchvision_network(**options)
    _make_gentle(model)
    _calibrate_norms(model, images)
    return model


@torch.no_grad()
def _make_gentle(model: TorchvisionMaskRCNN) -> None:
    """Change the body's random weights so that a small error stays small on its way, as in a trained network.

    With the weights of torchvision's initialisation a rounding to 8 bits at every layer leaves 3 dB of signal at the
    end of the body. In a trained network a residual branch adds a little to what it reads, and kernels are smooth.
    """
    for name, module in model.backbone.body.named_modules():
        if name.endswith("bn3"):
            module.weight.fill_(_BRANCH_SCALE)
        elif isinstance(module, nn.Conv2d) and module.kernel_size != (1, 1):
            side = module.kernel_size[0]
            place = torch.arange(side) - side // 2
            bump = torch.exp(-(place**2) / (2 * (side / 4) ** 2))
            bump = bump[:, None] * bump
            bump *= side * module.weight.std() / bump.norm()  # of the same spread as the random kernel
            smooth = torch.randn(*module.weight.shape[:2], 1, 1) * bump
            module.weight.mul_(1 - _SMOOTH).add_(_SMOOTH * smooth)


@torch.no_grad()
def _calibrate_norms(model: TorchvisionMaskRCNN, images: Sequence[Photograph]) -> None:
    """Give each frozen batch norm the mean and variance of what reaches it, first to last, in one pass."""

    def measure(norm: nn.Module, inputs: tuple[Tensor]) -> None:
        assert isinstance(norm, FrozenBatchNorm2d)
        norm.running_mean.copy_(inputs[0].mean((0, 2, 3)))
        norm.running_var.copy_(inputs[0].var((0, 2, 3)))

    norms = [module for module in model.modules() if isinstance(module, FrozenBatchNorm2d)]
    hooks = [norm.register_forward_pre_hook(measure) for norm in norms]
    batch, _ = model.transform([to_float(image) for image in images])
    model.backbone(batch.tensors)
    for hook in hooks:
        hook.remove()


def to_float(image: Photograph) -> Tensor:
    """Torchvision's input: float [3, H, W] in 0..1."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).float().div(255)
