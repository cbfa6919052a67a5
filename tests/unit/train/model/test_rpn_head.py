"""The RPN with further convolutions and with a score cut: against plain layers, loops and torchvision's."""

import dataclasses

import pytest
import reference
import torch
from maskline_train.model.anchors import flatten_deltas, flatten_logits, pyramid_anchors
from maskline_train.model.boxes import clip_to_image, decode_deltas
from maskline_train.model.rpn import RPNHead, proposal_nms
from maskline_train.spec import AnchorSpec, ProposalSpec, RPNHeadSpec
from torch import nn
from torchvision.models.detection import rpn as torchvision_rpn
from torchvision.models.detection.anchor_utils import AnchorGenerator

# float64: each output is a sum of some hundred products below one, added up in another order at most
TOLERANCE = 1e-10
INFO = torch.tensor([[32.0, 48.0, 1, 1, 32, 48], [30.0, 40.0, 1, 1, 30, 40]])
ONE_LEVEL = AnchorSpec(sizes_px=(16.0,))
SPEC = ProposalSpec(pre_nms_per_level=60, max_proposals=60, nms_thresh=0.5)


@pytest.mark.parametrize("num_convs", [1, 2, 3])
def test_the_head_is_its_layers_in_a_row_and_torchvisions(num_convs):
    torch.manual_seed(0)
    ours = RPNHead(8, 3, RPNHeadSpec(num_convs)).double()
    theirs = torchvision_rpn.RPNHead(8, 3, conv_depth=num_convs).double()
    for parameter in ours.parameters():
        nn.init.normal_(parameter, std=0.3)
    convs = [ours.conv, *ours.more_convs]
    assert len(convs) == num_convs
    for mine, block in zip(convs, theirs.conv, strict=True):
        block[0].load_state_dict(mine.state_dict())
    theirs.cls_logits.load_state_dict(ours.logits.state_dict())
    theirs.bbox_pred.load_state_dict(ours.deltas.state_dict())
    row = nn.Sequential(*[layer for conv in convs for layer in (conv, nn.ReLU())])
    features = [torch.randn(2, 8, 6, 9, dtype=torch.float64), torch.randn(2, 8, 3, 5, dtype=torch.float64)]
    logits, deltas = ours(features)
    for level, feature in enumerate(features):
        assert (logits[level] - ours.logits(row(feature))).abs().max() < TOLERANCE
        assert (deltas[level] - ours.deltas(row(feature))).abs().max() < TOLERANCE
        assert (logits[level] - theirs(features)[0][level]).abs().max() < TOLERANCE
        assert (deltas[level] - theirs(features)[1][level]).abs().max() < TOLERANCE
        assert logits[level].std() > 0.1


def test_names_of_a_checkpoint():
    layers = {"conv", "logits", "deltas"}
    assert {name.rpartition(".")[0] for name in RPNHead(8, 3, RPNHeadSpec()).state_dict()} == layers
    names = {name.rpartition(".")[0] for name in RPNHead(8, 3, RPNHeadSpec(3)).state_dict()}
    assert names == layers | {"more_convs.0", "more_convs.1"}


def outputs(seed):
    """Logits and deltas of 8 x 12 cells of stride 4."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, 3, 8, 12, generator=generator)
    return logits, 0.3 * torch.randn(2, 12, 8, 12, generator=generator)


def by_definition(logits, deltas, image, spec):
    """The best anchors, the cut, NMS by the oracle; boxes by our own decoder, which has its own tests."""
    scores, offsets = flatten_logits(logits)[image], flatten_deltas(deltas)[image]
    (anchors,) = pyramid_anchors([logits], ONE_LEVEL)
    order = sorted(range(len(scores)), key=lambda i: (-scores[i].item(), i))[: spec.pre_nms_per_level]
    rows = [i for i in order if torch.sigmoid(scores[i].double()) >= spec.score_thresh]
    boxes = clip_to_image(decode_deltas(offsets[rows], anchors[rows]), INFO[image])
    large = ((boxes[:, 2:] - boxes[:, :2]) >= spec.min_side_px).all(dim=1)
    kept = reference.greedy_nms(boxes[large].numpy(), scores[rows][large].tolist(), spec.nms_thresh)
    return boxes[large][kept]


@pytest.mark.parametrize("thresh", [0.0, 0.3, 0.7, 0.999])
@pytest.mark.parametrize("pre_nms", [60, 1000])
def test_proposals_below_the_score_cut_are_dropped(thresh, pre_nms):
    for seed in range(3):
        logits, deltas = outputs(seed)
        spec = dataclasses.replace(SPEC, score_thresh=thresh, pre_nms_per_level=pre_nms, max_proposals=1000)
        proposals, counts = proposal_nms([logits], [deltas], INFO, ONE_LEVEL, spec)
        for image in range(2):
            expected = by_definition(logits, deltas, image, spec)
            assert counts[image] == len(expected)
            assert (len(expected) == 0) == (thresh == 0.999)
            assert torch.equal(proposals[image, : len(expected)], expected)


@pytest.mark.parametrize("thresh", [0.0, 0.4, 0.8])
def test_the_score_cut_is_torchvisions(thresh):
    logits, deltas = outputs(0)
    spec = dataclasses.replace(SPEC, score_thresh=thresh)
    counts = {"training": 0, "testing": 60}
    network = torchvision_rpn.RegionProposalNetwork(
        AnchorGenerator(), torchvision_rpn.RPNHead(8, 3), 0.5, 0.5, 1, 0.5, counts, counts, 0.5, score_thresh=thresh
    ).eval()
    (anchors,) = pyramid_anchors([logits], ONE_LEVEL)
    boxes = decode_deltas(flatten_deltas(deltas), anchors)
    sizes = [(int(height), int(width)) for height, width in INFO[:, :2].tolist()]
    theirs, scores = network.filter_proposals(boxes, flatten_logits(logits).reshape(-1, 1), sizes, [anchors.shape[0]])
    ours, found = proposal_nms([logits], [deltas], INFO, ONE_LEVEL, spec)
    for image in range(2):
        assert len(theirs[image]) == found[image] > 2
        assert torch.equal(ours[image, : found[image]], theirs[image])
        assert scores[image].min() >= thresh


def test_a_score_on_the_cut_stays():
    logits, deltas = torch.zeros(2, 3, 8, 12), torch.zeros(2, 12, 8, 12)  # all scores are one half, exactly
    for thresh, least in ((0.5, 1), (0.5 + 1e-7, 0)):
        spec = dataclasses.replace(SPEC, score_thresh=thresh)
        _, counts = proposal_nms([logits], [deltas], INFO, ONE_LEVEL, spec)
        assert (counts.min() > 0) == (least > 0)
