"""What is timed on the GPU: the ops at the sizes of ResNet-50-FPN on 800 x 1344 canvases, ours and the peers'.

Letters: B images, L levels, R boxes an image, K classes, D detections an image, C channels, M mask side.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import torch
import torchvision
from maskline_host.classwise_nms import ClasswiseNMS
from maskline_host.proposal_nms import ProposalNMS
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.roi_heads import RoIHeads, paste_masks_in_image
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead

from maskline_bench.device_ops.as_sets import UNMATCHED_SHARE, unmatched_share
from maskline_bench.device_ops.library import DeviceOps

OURS = "maskline"
STRIDES, RPN_STRIDES = (4, 8, 16, 32), (4, 8, 16, 32, 64)
CHANNELS, ANCHORS, CLASSES, DETECTIONS, MASK_SIDE = 256, 3, 80, 100, 28


@dataclasses.dataclass(frozen=True)
class Size:
    """Of the canvas and the work; the smaller one is for checking the script without a GPU."""

    height: int = 800
    width: int = 1344
    proposals: int = 1000
    channels: int = CHANNELS


@dataclasses.dataclass
class Case:
    """One line of the table.

    Attributes:
        name: G3 to G7 of the list in docs/benchmarks/README.md, sizes, batch.
        target_us: an image; None where there is none.
        images: the batch, by which times are divided.
        bytes_moved: what cannot be avoided: inputs that are needed and outputs, once.
        sides: name to the call; ours first.
        gates: name to a function that gives the largest difference to the reference, and what it may be.
    """

    name: str
    target_us: float | None
    images: int
    bytes_moved: int
    sides: dict[str, Callable[[], Any]]
    gates: dict[str, tuple[Callable[[], float], float]]


def roi_align_case(
    ops: DeviceOps, size: Size, where: str, batch: int, boxes: int, side: int, target: float | None
) -> Case:
    """G3 (box head) and G4 (mask head): ours in half precision and float32, torchvision's in three ways."""
    generator = torch.Generator().manual_seed(0)
    maps = [
        torch.randn(batch, size.channels, -(-size.height // s), -(-size.width // s), generator=generator).to(where)
        for s in STRIDES
    ]
    rois = boxes_of(size, batch, boxes, generator).to(where)
    half = [level.half() for level in maps]
    packed = [level.permute(0, 2, 3, 1).contiguous() for level in half]
    last = [level.contiguous(memory_format=torch.channels_last) for level in maps]
    run_half, out_half = ops.roi_align(packed, rois, STRIDES, side, hwc8=True)
    run_float, out_float = ops.roi_align(maps, rois, STRIDES, side, hwc8=False)
    theirs = functools.partial(torchvision_roi_align, size=size, side=side)
    lists = list(rois)

    def apart(run: Callable[[], None], found: Callable[[], torch.Tensor]) -> float:
        run()
        return float((found().float() - theirs(maps, lists)).abs().max())

    in_half = [box.half() for box in lists]
    return Case(
        f"{'G3' if side == 7 else 'G4'} RoIAlign {boxes} x {side} x {side}, batch {batch}",
        target,
        batch,
        _roi_bytes(packed, rois, out_half),
        {
            f"{OURS} fp16 NHWC": run_half,
            f"{OURS} fp32 NCHW": run_float,
            "torchvision fp32": lambda: theirs(maps, lists),
            "torchvision fp32 channels_last": lambda: theirs(last, lists),
            "torchvision fp16": lambda: theirs(half, in_half),
        },
        {
            # values of up to 5 in 11 bits; torchvision's legacy coordinates are float32 on both sides
            f"{OURS} fp16 NHWC": (lambda: apart(run_half, lambda: out_half.permute(0, 3, 1, 2)), 1e-2),
            f"{OURS} fp32 NCHW": (lambda: apart(run_float, lambda: out_float), 1e-3),
        },
    )


def torchvision_roi_align(maps: list[torch.Tensor], rois: list[torch.Tensor], *, size: Size, side: int) -> torch.Tensor:
    """The boxes of each level through torchvision's roi_align: its MultiScaleRoIAlign knows the legacy rule only."""
    levels = _level_of(rois)
    out = torch.zeros((len(levels), maps[0].shape[1], side, side), dtype=maps[0].dtype, device=maps[0].device)
    rows = torchvision.ops._utils.convert_boxes_to_roi_format(rois)
    for index, (level, stride) in enumerate(zip(maps, STRIDES, strict=True)):
        mine = torch.where(levels == index)[0]
        out[mine] = torchvision.ops.roi_align(level, rows[mine], side, 1 / stride, 2, True)
    return out


def _level_of(rois: list[torch.Tensor]) -> torch.Tensor:
    boxes = torch.cat(rois).float()
    side = ((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])).clamp(min=0).sqrt()
    return torch.floor(4 + torch.log2(side / 224 + 1e-6)).clamp(2, 5).long() - 2


def boxes_of(size: Size, batch: int, count: int, generator: torch.Generator) -> torch.Tensor:
    """[B,R,4] inside of the canvas, sides uniform by logarithm from 8 px to nearly the canvas."""
    limit = torch.tensor([size.width, size.height]).float()
    low, high = torch.tensor(8.0).log(), torch.tensor(0.95 * size.height).log()
    scale = torch.exp(low + (high - low) * torch.rand(batch, count, 1, generator=generator))
    ratio = 2.0 ** (torch.rand(batch, count, 1, generator=generator) - 0.5)
    sides = torch.minimum(torch.cat([scale * ratio, scale / ratio], dim=2), 0.99 * limit)
    corner = torch.rand(batch, count, 2, generator=generator) * (limit - sides)
    return torch.cat([corner, corner + sides], dim=2)


def _roi_bytes(maps: list[torch.Tensor], rois: torch.Tensor, out: torch.Tensor) -> int:
    """Cells of the maps ([B,Hi,Wi,C]) that some box lies on, once, and the output."""
    levels = _level_of(list(rois)).reshape(rois.shape[:2]).cpu()
    cells = 0
    for index, (level, stride) in enumerate(zip(maps, STRIDES, strict=True)):
        for image in range(len(rois)):
            read = torch.zeros(level.shape[1:3], dtype=torch.bool)
            for x0, y0, x1, y1 in (rois[image][levels[image] == index].cpu() / stride).tolist():
                read[max(int(y0 - 0.5), 0) : int(y1 + 0.5) + 1, max(int(x0 - 0.5), 0) : int(x1 + 0.5) + 1] = True
            cells += int(read.sum())
    return cells * maps[0].shape[3] * maps[0].element_size() + out.numel() * out.element_size()


def proposals_case(ops: DeviceOps, size: Size, where: str, batch: int, target: float | None) -> Case:
    """G5: all levels of the region proposal network's outputs to proposals."""
    generator = torch.Generator().manual_seed(1)
    sizes = [(-(-size.height // s), -(-size.width // s)) for s in RPN_STRIDES]
    logits = [torch.randn(batch, ANCHORS, *cells, generator=generator).to(where) for cells in sizes]
    deltas = [(0.3 * torch.randn(batch, 4 * ANCHORS, *cells, generator=generator)).to(where) for cells in sizes]
    info = torch.tensor([[size.height, size.width, 1, 1, size.height, size.width]]).float().repeat(batch, 1).to(where)
    top = size.proposals
    op = ProposalNMS(RPN_STRIDES, (32.0, 64.0, 128.0, 256.0, 512.0), (0.5, 1.0, 2.0), True, 0.0, top, top, 0.7, 1e-3)
    run, (found, number) = ops.proposal_nms(op, info, logits, deltas)
    peer = _torchvision_proposals(size, batch, logits, deltas)

    def apart() -> float:
        run()
        return max(unmatched_share(found[i, : int(number[i])], theirs) for i, theirs in enumerate(peer()))

    moved = sum(tensor.numel() * 4 for tensor in logits) + batch * len(RPN_STRIDES) * top * 16 + found.numel() * 4
    name = f"G5 proposals of {sum(h * w for h, w in sizes) * ANCHORS} anchors, batch {batch}"
    return Case(name, target, batch, moved, {OURS: run, "torchvision": peer}, {OURS: (apart, UNMATCHED_SHARE)})


def _torchvision_proposals(
    size: Size, batch: int, logits: list[torch.Tensor], deltas: list[torch.Tensor]
) -> Callable[[], list[torch.Tensor]]:
    anchors = AnchorGenerator(((32,), (64,), (128,), (256,), (512,)), ((0.5, 1.0, 2.0),) * 5)
    counts = {"training": size.proposals, "testing": size.proposals}
    network = RegionProposalNetwork(anchors, RPNHead(size.channels, ANCHORS), 0.7, 0.3, 256, 0.5, counts, counts, 0.7)
    network.eval()
    network.min_size = 1e-3
    images = ImageList(
        torch.empty(batch, 3, size.height, size.width, device=logits[0].device), [(size.height, size.width)] * batch
    )
    # Strides as ours: torchvision takes the canvas over the cells, which is another number where cells are rounded up.
    features = [torch.empty(batch, 1, *level.shape[2:], device=level.device) for level in logits]
    grid = anchors(images, features)
    counts_of = [level.shape[1] * level.shape[2] * level.shape[3] for level in logits]

    def run() -> list[torch.Tensor]:
        flat = [x.permute(0, 2, 3, 1).reshape(batch, -1) for x in logits]
        moves = [x.permute(0, 2, 3, 1).reshape(batch, -1, 4) for x in deltas]
        boxes = network.box_coder.decode(torch.cat(moves, dim=1).reshape(-1, 4), grid).reshape(batch, -1, 4)
        scores = torch.cat(flat, dim=1).reshape(-1, 1)
        kept: list[torch.Tensor]
        kept, _ = network.filter_proposals(boxes, scores, images.image_sizes, counts_of)
        return kept

    return run


def detections_case(ops: DeviceOps, size: Size, where: str, batch: int, target: float | None) -> Case:
    """G6: class-wise NMS of the box head's outputs, about 300 candidates above the threshold an image."""
    generator = torch.Generator().manual_seed(2)
    rows = size.proposals
    logits = torch.randn(batch * rows, CLASSES + 1, generator=generator)
    logits[:, -1] += 9.0
    chosen = torch.randperm(batch * rows, generator=generator)[: max(1, batch * rows * 3 // 10)]
    logits[chosen, torch.randint(CLASSES, (len(chosen),), generator=generator)] += 10.0
    deltas = 0.5 * torch.randn(batch * rows, 4 * CLASSES, generator=generator)
    proposals = boxes_of(size, batch, rows, generator)
    info = torch.tensor([[size.height, size.width, 1, 1, size.height, size.width]]).float().repeat(batch, 1)
    number = torch.full((batch,), rows, dtype=torch.int32)
    inputs = [tensor.to(where) for tensor in (logits, deltas, proposals, number, info)]
    op = ClasswiseNMS(CLASSES, 0.05, 0.5, DETECTIONS, (10.0, 10.0, 5.0, 5.0), 1e-2)
    run, (boxes, scores, labels, count) = ops.classwise_nms(op, inputs)
    heads = RoIHeads(None, None, None, 0.5, 0.5, 512, 0.25, (10.0, 10.0, 5.0, 5.0), 0.05, 0.5, DETECTIONS)
    # torchvision's background is class 0, ours the last.
    their_logits = torch.cat([inputs[0][:, -1:], inputs[0][:, :-1]], dim=1)
    their_deltas = torch.cat([torch.zeros_like(inputs[1][:, :4]), inputs[1]], dim=1)
    lists, sizes = list(inputs[2]), [(size.height, size.width)] * batch

    def peer() -> Any:
        return heads.postprocess_detections(their_logits, their_deltas, lists, sizes)

    def apart() -> float:
        run()
        their_boxes, _, their_labels = peer()
        shares = []
        for image in range(batch):
            n = int(count[image, 0])
            own = boxes[image, :n], labels[image, :n].long()
            shares.append(unmatched_share(own[0], their_boxes[image], own[1], their_labels[image] - 1))
        return max(shares)

    moved = inputs[0].numel() * 4 + len(chosen) * 32 + sum(t.numel() * 4 for t in (boxes, scores, labels))
    name = f"G6 detections of {rows} x {CLASSES}, batch {batch}"
    return Case(name, target, batch, moved, {OURS: run, "torchvision": peer}, {OURS: (apart, UNMATCHED_SHARE)})


def masks_case(ops: DeviceOps, size: Size, where: str, target: float | None) -> Case:
    """G7: masks to run lengths on the host; the peer pastes on the GPU, copies, and encodes with pycocotools."""
    generator = torch.Generator().manual_seed(3)
    original = (480, 640) if size.height >= 480 else (size.height, size.width)
    grid = torch.linspace(-1, 1, MASK_SIDE)
    radius = (grid[:, None] ** 2 + grid[None] ** 2).sqrt()
    wobble = 0.2 * torch.rand(DETECTIONS, 1, 1, generator=generator)
    masks = torch.sigmoid(10 * (0.7 + wobble - radius))
    boxes = boxes_of(Size(*original), 1, DETECTIONS, generator)
    info = torch.tensor([[*original, 1.0, 1.0, *original]])
    number = torch.tensor([[DETECTIONS]], dtype=torch.int32)
    inputs = [tensor.to(where) for tensor in (masks[None], boxes, number, info)]
    run, (counts, num_counts) = ops.mask_rle(inputs, max_counts=2048)
    host = [torch.empty_like(t, device="cpu", pin_memory=where == "cuda") for t in (counts, num_counts)]

    def to_host() -> None:
        run()
        for target_, source in zip(host, (counts, num_counts), strict=True):
            target_.copy_(source, non_blocking=True)

    def peer() -> list[Any]:
        pasted = paste_masks_in_image(inputs[0][0][:, None], inputs[1][0], original)
        return _encoded((pasted >= 0.5).cpu()[:, 0])

    def apart() -> float:
        """Counts must sum to the image and the areas be torchvision's but for its expanded, rounded boxes."""
        to_host()
        if where == "cuda":
            torch.cuda.synchronize()
        if not bool((host[0].sum(dim=2) == original[0] * original[1]).all()):
            return float("inf")
        ours = host[0][0, :, 1::2].sum(dim=1).double()
        pasted = paste_masks_in_image(inputs[0][0][:, None], inputs[1][0], original) >= 0.5
        areas = pasted.sum(dim=(1, 2, 3)).double().cpu()
        return float(((ours - areas).abs() / areas.clamp(min=100)).median())

    moved = inputs[0].numel() * 4 + counts.numel() * 4
    name = f"G7 {DETECTIONS} masks to run lengths on the host, {original[0]} x {original[1]}"
    return Case(name, target, 1, moved, {OURS: to_host, "torchvision + pycocotools": peer}, {OURS: (apart, 0.1)})


def _encoded(masks: torch.Tensor) -> list[Any]:
    """COCO RLE by pycocotools; the masks themselves where it is not installed, which flatters the peer."""
    try:
        from pycocotools import mask as coco_mask
    except ImportError:
        return list(masks.numpy())
    return list(coco_mask.encode(masks.permute(1, 2, 0).contiguous().numpy().view("uint8").copy(order="F")))
