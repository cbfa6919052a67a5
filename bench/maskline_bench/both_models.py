"""A ResNet-50-FPN Mask R-CNN twice, with the same weights: torchvision's model, and a checkpoint of ours made of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from maskline_train.checkpoint import save_model
from maskline_train.convert.from_torchvision import import_torchvision
from maskline_train.spec import PreprocessingSpec
from PIL import Image
from torchvision.models.detection import MaskRCNN as TorchvisionMaskRCNN

from maskline_bench.drawn import Drawn, draw_objects
from maskline_bench.peers import NORM_EPS, Photograph, class_names, decode, jpeg, photographs, torchvision_model
from maskline_bench.teach import Tell, teach

_OTHER_OBJECTS = 100  # the first seed of pictures that are not timed


@dataclasses.dataclass(frozen=True)
class Setting:
    """What is served.

    Attributes:
        image: (height, width) of the JPEG files; half of the canvas' picture, so that both sides resize by 2 exactly.
        canvas: (height, width) that the network computes on.
        objects: drawn on a picture, where there is room.
        lessons: steps of teaching the heads to find them.
        pictures: photographs to send in turn.
        proposals: R, boxes an image that the box head sees.
        detections: D, objects an image at most.
        min_mask_iou: of matched objects, a mean; both cut boxes off to whole pixels before they paste, and boxes that
            differ by rounding may fall to either side of one, which small objects show.
        count_tolerance: share by which the numbers of objects in the timed images may differ.
    """

    image: tuple[int, int]
    canvas: tuple[int, int]
    objects: int
    lessons: int
    pictures: int
    proposals: int
    detections: int
    min_mask_iou: float
    count_tolerance: float

    @property
    def resized(self) -> tuple[int, int]:
        """(height, width) of the picture inside the canvas."""
        return 2 * self.image[0], 2 * self.image[1]


FULL = Setting(
    image=(400, 666), canvas=(800, 1344), objects=40, lessons=1500, pictures=5, proposals=1000, detections=100,
    min_mask_iou=0.9, count_tolerance=0.25,
)  # fmt: skip
# A quarter of the pixels: a processor of few cores answers in a second.
HALF = Setting(
    image=(200, 333), canvas=(416, 672), objects=25, lessons=600, pictures=5, proposals=1000, detections=100,
    min_mask_iou=0.8, count_tolerance=0.25,
)  # fmt: skip
QUICK = Setting(
    image=(80, 120), canvas=(160, 256), objects=10, lessons=200, pictures=3, proposals=100, detections=20,
    min_mask_iou=0.8, count_tolerance=0.6,
)  # fmt: skip


def peer_options(setting: Setting) -> dict[str, int]:
    """Arguments of torchvision's MaskRCNN; in the full setting all of them are its defaults."""
    height, width = setting.resized
    return {
        "min_size": height,
        "max_size": max(width, round(height * 1333 / 800)),
        "rpn_pre_nms_top_n_test": setting.proposals,
        "rpn_post_nms_top_n_test": setting.proposals,
        "box_detections_per_img": setting.detections,
    }


@dataclasses.dataclass(frozen=True)
class Picture(Drawn):
    """A drawn picture as it comes out of a JPEG file, and the file."""

    file: bytes


def make_pictures(setting: Setting) -> list[Picture]:
    """Photographs with objects on them: those that are timed."""
    photos = photographs(*setting.image)[: setting.pictures]
    return [_picture(photo, setting.objects, seed) for seed, photo in enumerate(photos)]


def make_other_pictures(setting: Setting) -> list[Picture]:
    """The photographs, mirrored too, with other objects than those that are timed: to teach and to calibrate on."""
    photos = photographs(*setting.image)
    both = [*(np.ascontiguousarray(each[:, ::-1]) for each in photos), *photos]
    return [_picture(photo, setting.objects, _OTHER_OBJECTS + index) for index, photo in enumerate(both)]


def _picture(photo: Photograph, objects: int, seed: int) -> Picture:
    drawn = draw_objects(photo, objects, seed)
    file = jpeg(drawn.picture)
    return Picture(decode(file), drawn.boxes, drawn.labels, drawn.masks, file)


def write_calibration(setting: Setting, folder: Path) -> Path:
    """JPEG files to calibrate int8 on: the other pictures."""
    folder.mkdir()
    for index, picture in enumerate(make_other_pictures(setting)):
        (folder / f"{index}.jpg").write_bytes(picture.file)
    return folder


def resized(picture: Photograph, size: tuple[int, int]) -> Photograph:
    """The picture at (height, width) px, by the filter that both sides resize with."""
    return np.asarray(Image.fromarray(picture).resize(size[::-1], Image.Resampling.BILINEAR))


def make_peer(setting: Setting, pictures: Sequence[Drawn], tell: Tell = lambda line: None) -> TorchvisionMaskRCNN:
    """Torchvision's model with weights made for the pictures and others, so that it finds what was drawn on them."""
    model = torchvision_model([each.picture for each in pictures], **peer_options(setting)).eval()
    teach(model, [*pictures, *make_other_pictures(setting)], setting.lessons, tell)
    return model


def write_checkpoint(peer: TorchvisionMaskRCNN, setting: Setting, folder: Path) -> Path:
    """The same network as a checkpoint of ours, by the call behind the command; returns its folder."""
    model = import_torchvision(peer.state_dict(), class_names(), NORM_EPS)
    options, (height, width) = peer_options(setting), setting.canvas
    sizes = PreprocessingSpec(
        shorter_side_px=options["min_size"],
        longer_side_px=options["max_size"],
        canvases=((height, width), (width, height), (width, width)),
    )
    spec = model.spec
    model.spec = dataclasses.replace(
        spec,
        preprocessing=sizes,
        proposals=dataclasses.replace(
            spec.proposals, pre_nms_per_level=setting.proposals, max_proposals=setting.proposals
        ),
        box_head=dataclasses.replace(spec.box_head, max_detections=setting.detections),
    )
    save_model(folder / "checkpoint", model)
    return folder / "checkpoint"
