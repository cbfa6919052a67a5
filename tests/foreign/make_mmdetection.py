"""Write tests/foreign/mmdetection: narrow networks of mmdetection 3.3.0, and what it finds with them in three pictures.

Run by a Python that has mmdet 3.3.0, mmcv-lite 2.1.0 and mmengine 0.10.7 beside torch and torchvision (README.md):

    python tests/foreign/make_mmdetection.py

mmcv-lite has no compiled operators: torchvision's `nms` and `roi_align` stand in their place, below mmcv's own Python.
All else that computes is mmdetection's: pipeline, network, decoding, pasting.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import importlib.machinery
import json
import os
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from pycocotools import mask as coco_mask
from torch import Tensor, nn

FOLDER = Path(__file__).parent
PICTURES = ("astronaut", "coffee", "chelsea")
CLASSES = ("pale", "dark", "round", "long", "other")
NARROWER = 8  # than the published networks: 64 channels become 8
SIZE = (427, 256)
SEED = 3
MOST_OBJECTS = 60  # an image on average, once the background's logit is high enough
# Spread of the outputs of the last layers; 1 of all others. Boxes move by some pixels, scores reach from 0 to 1.
SPREAD = {"rpn_cls": 1.5, "rpn_reg": 0.2, "fc_cls": 2.0, "fc_reg": 0.5, "conv_logits": 2.0}


class Operators(types.ModuleType):
    """What mmcv's Python finds in place of its compiled operators: the two that these networks call."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """Any other operator can be asked for and not be called."""
        if name.startswith("__"):
            raise AttributeError(name)
        return functools.partial(_missing, name)

    @staticmethod
    def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
        """Indices of kept boxes, best first."""
        assert offset == 0
        return torchvision.ops.nms(boxes, scores, iou_threshold)

    @staticmethod
    def roi_align_forward(features: Tensor, rois: Tensor, output: Tensor, *_: Tensor, **how: Any) -> None:
        """RoI features into `output`."""
        assert how["pool_mode"] == 1  # the average
        side, scale = (how["aligned_height"], how["aligned_width"]), how["spatial_scale"]
        pooled = torchvision.ops.roi_align(features, rois, side, scale, how["sampling_ratio"], aligned=how["aligned"])
        output.copy_(pooled)


def _missing(name: str, *_: object, **__: object) -> None:
    raise NotImplementedError(f"{name}: no network here calls it")


def fpn_config() -> Any:
    """`mask-rcnn_r50_fpn_1x_coco`: RGB, stride in 3x3, a pyramid."""
    config = _published("mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py")
    config.model.neck.update(in_channels=[32, 64, 128, 256], out_channels=32)
    config.model.rpn_head.update(in_channels=32, feat_channels=32)
    roi_head = config.model.roi_head
    for extractor in (roi_head.bbox_roi_extractor, roi_head.mask_roi_extractor):
        extractor.out_channels = 32
    roi_head.bbox_head.update(in_channels=32, fc_out_channels=64)
    roi_head.mask_head.update(in_channels=32, conv_out_channels=32)
    return config


def c4_config() -> Any:
    """`mask-rcnn_r50-caffe-c4_1x_coco`: BGR, stride in 1x1, 15 anchors a cell, the fifth stage on RoIs."""
    config = _published("mask_rcnn/mask-rcnn_r50-caffe-c4_1x_coco.py")
    config.model.rpn_head.update(in_channels=128, feat_channels=128)
    config.model.roi_head.bbox_roi_extractor.out_channels = 128
    config.model.roi_head.bbox_head.in_channels = 256
    config.model.test_cfg.rpn.max_per_img = 300  # the stage on RoIs takes its time
    config.model.roi_head.mask_head.update(in_channels=256, conv_out_channels=32)
    return config


def _published(name: str) -> Any:
    """A config of the model zoo, narrower, for five classes and small pictures."""
    import mmdet
    from mmengine.config import Config

    config = Config.fromfile(str(Path(mmdet.__file__).parent / ".mim" / "configs" / name))
    config.model.backbone.update(base_channels=64 // NARROWER, init_cfg=None)
    for head in (config.model.roi_head.bbox_head, config.model.roi_head.mask_head):
        head.num_classes = len(CLASSES)
    for pipeline in (
        config.test_pipeline,
        config.test_dataloader.dataset.pipeline,
        config.val_dataloader.dataset.pipeline,
    ):
        next(step for step in pipeline if step.type == "Resize").scale = SIZE
    return config


@contextlib.contextmanager
def narrow_shared_head() -> Iterator[None]:
    """The stage that C4 runs on RoIs has the published width in its code; meanwhile it is as narrow as the body."""
    from mmdet.models.roi_heads.shared_heads import res_layer

    usual = res_layer._ResLayer

    def narrow(block: type, inplanes: int, planes: int, blocks: int, **more: Any) -> nn.Module:
        return usual(block, inplanes // NARROWER, planes // NARROWER, blocks, **more)

    res_layer._ResLayer = narrow
    try:
        yield
    finally:
        res_layer._ResLayer = usual


def calibrate(model: nn.Module, config: Any) -> None:
    """Give random weights activations of usual size, channel by channel, on the pictures themselves."""
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    for name, module in model.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, *((0.2, 0.4) if name.endswith("bn3") else (0.8, 1.2)))
            nn.init.normal_(module.bias, std=0.2)
            module.momentum = None  # statistics of all that is seen
    behind_norms = {id(conv) for conv in _convolutions_before_norms(model)}
    layers = {
        module: SPREAD.get(name.rpartition(".")[2], 1.0)
        for name, module in model.named_modules()
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear) and id(module) not in behind_norms
    }
    handles = [layer.register_forward_hook(functools.partial(_standardise, layers)) for layer in layers]
    for norm in norms:
        norm.reset_running_stats()
        torch.nn.Module.train(norm)
    _find_together(model, config)
    for handle in handles:
        handle.remove()
    model.eval()
    # Most of a mask is filled, as masks of objects are: fewer pixels lie at one half, where rounding decides.
    model.roi_head.mask_head.conv_logits.bias.data += SPREAD["conv_logits"]
    background = model.roi_head.bbox_head.fc_cls.bias
    while sum(len(found.pred_instances) for found in _find_together(model, config)) > MOST_OBJECTS * len(PICTURES):
        background.data[-1] += 0.5


def _convolutions_before_norms(model: nn.Module) -> list[nn.Module]:
    """Of the body and of the stage on RoIs, which have no bias."""
    return [module for module in model.modules() if isinstance(module, nn.Conv2d) and module.bias is None]


def _standardise(left: dict[nn.Module, float], layer: nn.Module, _: object, output: Tensor) -> Tensor:
    """Where a layer is first used: mean 0 and its spread in each channel."""
    if layer not in left:
        return output
    others = [dim for dim in range(output.dim()) if dim != 1]
    mean = output.mean(dim=others)
    gain = left.pop(layer) / output.std(dim=others).clamp(min=1e-6)
    channels = 1 if isinstance(layer, nn.ConvTranspose2d) else 0
    shape = [-1 if dim == channels else 1 for dim in range(layer.weight.dim())]
    layer.weight.data *= gain.view(shape)
    layer.bias.data = (layer.bias.data - mean) * gain
    over = [-1 if dim == 1 else 1 for dim in range(output.dim())]
    return (output - mean.view(over)) * gain.view(over)


@torch.no_grad()
def _find_together(model: nn.Module, config: Any) -> Any:
    """What the network finds in all pictures as one batch."""
    from mmcv.transforms import Compose

    prepare = Compose(config.test_pipeline)
    samples = [prepare({"img_path": str(_picture(name)), "img_id": 0}) for name in PICTURES]
    return model.test_step({name: [sample[name] for sample in samples] for name in ("inputs", "data_samples")})


def _picture(name: str) -> Path:
    return FOLDER / "images" / f"{name}.png"


def small(state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
    """Kernels and matrices as float16."""
    return {name: tensor.half() if tensor.dim() > 1 else tensor for name, tensor in state_dict.items()}


def save(model: nn.Module, config: Any, path: Path, *, training: bool) -> None:
    """A file as mmengine's runner writes it in training, or as it is published."""
    import mmdet
    import mmengine
    from mmengine.logging import MessageHub
    from mmengine.runner import save_checkpoint

    meta = {
        "epoch": 12,
        "iter": 87960,
        "cfg": config.pretty_text,
        "dataset_meta": {"classes": CLASSES, "palette": [(220, 20, 60)] * len(CLASSES)},
        "mmdet_version": mmdet.__version__,
        "mmengine_version": mmengine.__version__,
    }
    content: dict[str, Any] = {"meta": meta, "state_dict": small(model.state_dict())}
    if training:
        hub = MessageHub.get_instance("fixture")
        for loss in (2.5, 1.5, 1.0):
            hub.update_scalar("train/loss", loss)
        optimizer = torch.optim.SGD([model.roi_head.bbox_head.fc_cls.bias], lr=0.02, momentum=0.9)
        optimizer.param_groups[0]["params"][0].grad = torch.ones(len(CLASSES) + 1)
        optimizer.step()
        content |= {"message_hub": hub.state_dict(), "optimizer": optimizer.state_dict(), "param_schedulers": []}
    save_checkpoint(content, str(path))


def golden(path: Path, config: Any) -> dict[str, Any]:
    """What mmdetection finds with the file, picture by picture, by its own interface for one picture."""
    from mmdet.apis import inference_detector, init_detector

    model = init_detector(copy.deepcopy(config), str(path), device="cpu")
    images = {}
    for name in PICTURES:
        sample = inference_detector(model, str(_picture(name)))
        found = sample.pred_instances
        masks = np.asfortranarray(found.masks.numpy().astype(np.uint8).transpose(1, 2, 0))
        images[name] = {
            "image": f"images/{name}.png",
            "original_size": list(sample.ori_shape[:2]),
            "resized_size": list(sample.img_shape[:2]),
            "padded_size": list(sample.pad_shape[:2]),
            "boxes": [[round(float(value), 5) for value in box] for box in found.bboxes],
            "scores": [round(float(score), 7) for score in found.scores],
            "classes": found.labels.tolist(),
            "masks": [{**rle, "counts": rle["counts"].decode()} for rle in coco_mask.encode(masks)],
        }
        sys.stdout.write(f"{path.parent.name} {name}: {len(found)} objects\n")
    return {"images": images}


def make(name: str, config: Any, *, training: bool) -> None:
    """One network: its file, its config and its answers."""
    from mmdet.registry import MODELS

    torch.manual_seed(SEED)
    model = MODELS.build(copy.deepcopy(config.model))  # which adds to what it is given
    model.init_weights()
    calibrate(model, config)
    folder = FOLDER / "mmdetection" / name
    folder.mkdir(parents=True, exist_ok=True)
    save(model, config, folder / "model_final.pth", training=training)
    (folder / "golden.json").write_text(json.dumps(golden(folder / "model_final.pth", config)), encoding="utf-8")


def main(names: list[str]) -> None:
    """The networks of these names, or both."""
    os.environ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] = "1"  # mmengine reads its own training file, written above
    operators = Operators("mmcv._ext")
    operators.__spec__ = importlib.machinery.ModuleSpec(operators.__name__, None)
    sys.modules[operators.__name__] = operators
    from mmdet.utils import register_all_modules

    register_all_modules()
    if "mask_fpn" in (names or ["mask_fpn"]):
        make("mask_fpn", fpn_config(), training=False)
    if "mask_c4_caffe" in (names or ["mask_c4_caffe"]):
        with narrow_shared_head():
            make("mask_c4_caffe", c4_config(), training=True)


if __name__ == "__main__":
    main(sys.argv[1:])
