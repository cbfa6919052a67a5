"""torchvision's detection models with weights that show differences, and their answers without resize and paste."""

import torch
from torchvision.models.detection.image_list import ImageList


@torch.no_grad()
def randomise(model):
    """Random statistics, and last layers scaled so that detections are many, confident, of all classes and shapes."""
    for module in model.backbone.body.modules():
        if hasattr(module, "running_var"):
            module.running_mean.uniform_(-0.3, 0.3)
            module.running_var.uniform_(0.5, 2.0)
            module.weight.uniform_(0.3, 0.9)
            module.bias.uniform_(-0.3, 0.3)
    batch = model.transform.normalize(random_images([(160, 160)], seed=9)[0] / 255)[None]
    features = model.eval().backbone(batch)
    cells = torch.cat([model.rpn.head.conv(feature).flatten(2) for feature in features.values()], dim=2)[:, :, None]
    spread(model.rpn.head.cls_logits, cells, 1.0)
    spread(model.rpn.head.bbox_pred, cells, 0.08)
    heads, sizes = model.roi_heads, [(160, 160)]
    proposals, _ = model.rpn(ImageList(batch, sizes), features)
    hidden = heads.box_head(heads.box_roi_pool(features, proposals, sizes))
    spread(heads.box_predictor.cls_score, hidden, 2.5)
    spread(heads.box_predictor.bbox_pred, hidden, 0.2)  # times 1/10 and 1/5 of the side of the proposal
    few = [proposals[0][:20]]
    if heads.has_mask():
        hidden = heads.mask_head(heads.mask_roi_pool(features, few, sizes))
        hidden = torch.relu(heads.mask_predictor.conv5_mask(hidden))
        spread(heads.mask_predictor.mask_fcn_logits, hidden, 2.0)
    if heads.has_keypoint():
        hidden = heads.keypoint_head(heads.keypoint_roi_pool(features, few, sizes))
        spread(heads.keypoint_predictor.kps_score_lowres, hidden, 2.0)


def spread(layer, inputs, std):
    """Scale and shift a layer so that each of its outputs has mean 0 and the given deviation over these inputs."""
    outputs = layer(inputs).transpose(0, 1).flatten(1)
    scale = std / outputs.std(dim=1)
    shape = [1] * layer.weight.dim()
    shape[1 if isinstance(layer, torch.nn.ConvTranspose2d) else 0] = -1  # where its outputs are counted
    layer.weight.mul_(scale.reshape(shape))
    layer.bias.sub_(outputs.mean(dim=1)).mul_(scale)


def random_images(sizes, seed=0):
    generator = torch.Generator().manual_seed(seed)
    smooth = [torch.rand(1, 3, 20, 20, generator=generator) for _ in sizes]
    images = [
        torch.nn.functional.interpolate(x, size, mode="bicubic")[0] for x, size in zip(smooth, sizes, strict=True)
    ]
    return [(image.clamp(0, 1) * 255).round().to(torch.uint8) for image in images]


def as_canvas(images):
    """[B, H, W, 3] uint8 and [B, 6], padded to multiples of 32 as torchvision's transform pads."""
    height, width = (-(-max(image.shape[axis] for image in images) // 32) * 32 for axis in (1, 2))
    canvas = torch.full((len(images), height, width, 3), 77, dtype=torch.uint8)  # padding must be ignored
    infos = []
    for row, image in zip(canvas, images, strict=True):
        _, h, w = image.shape
        row[:h, :w] = image.permute(1, 2, 0)
        infos.append([h, w, 1.0, 1.0, h, w])
    return canvas, torch.tensor(infos)


@torch.no_grad()
def in_float64(images):
    """The same images for a model in float64."""
    return [image.double() for image in images]


def their_detections(model, images):
    """torchvision's own path without its resize and without the paste, which rounds boxes to whole pixels."""
    batch = as_image_list(model, images)
    features = model.backbone(batch.tensors)
    proposals, _ = model.rpn(batch, features)
    return model.roi_heads(features, proposals, batch.image_sizes)[0]


def as_image_list(model, images):
    batch = model.transform.batch_images([model.transform.normalize(image / 255) for image in images])
    return ImageList(batch, [tuple(image.shape[1:]) for image in images])
