"""The losses: values by hand, gradients, empty inputs, averages over processes."""

import json
import math

import pytest
import torch
from maskline_train.ground_truth import batched
from maskline_train.model.boxes import encode_deltas
from maskline_train.model.losses import SMOOTH_L1_BETA, Term, averages, box_terms, mask_terms, rpn_terms
from maskline_train.model.sampling import AnchorSamples, RoISamples
from maskline_train.spec import MaskHeadSpec
from maskline_train.target import Target
from support.processes.two import run_two

INDEX = torch.int64
ONE = torch.ones(1).bool()


def long(*values):
    return torch.tensor(values, dtype=INDEX)


def target_of(*boxes):
    boxes = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    return Target(boxes, torch.zeros(len(boxes), dtype=INDEX), torch.zeros(len(boxes), 8, 8, dtype=torch.uint8))


def rpn_case(dtype=torch.float32):
    """Two images, two levels of 2 x 2 and 1 x 1 cells, two anchors a cell: 10 anchors."""
    generator = torch.Generator().manual_seed(0)
    logits = [torch.randn(2, 2, n, n, generator=generator, dtype=dtype) for n in (2, 1)]
    deltas = [torch.randn(2, 8, n, n, generator=generator, dtype=dtype) for n in (2, 1)]
    anchors = torch.rand(10, 4, generator=generator) + torch.tensor([0.0, 0.0, 5.0, 5.0])
    # The second image has no positive and one negative; its other rows are padding and hold what must not matter.
    gt_boxes = torch.tensor([[[0.0, 0.0, 6.0, 6.0]], [[math.nan] * 4]])
    samples = AnchorSamples(
        torch.tensor([[8], [5]]), torch.tensor([[True], [False]]),
        torch.tensor([[0, 3], [9, 4]]), torch.tensor([[True, True], [True, False]]),
        gt_boxes,
    )  # fmt: skip
    return logits, deltas, anchors, samples


def test_rpn_terms_by_hand():
    logits, deltas, anchors, samples = rpn_case()
    terms = rpn_terms(logits, deltas, anchors, samples)
    assert [term.number for term in terms.values()] == [4, 4]
    # anchor 8 is the first anchor of the second level, anchor 0 that of cell (0, 0), anchor 3 the second of (0, 1)
    positive = logits[1][0, 0, 0, 0]
    negatives = [logits[0][0, 0, 0, 0], logits[0][0, 1, 0, 1], logits[1][1, 1, 0, 0]]
    expected = math.log(1 + math.exp(-positive)) + sum(math.log(1 + math.exp(x)) for x in negatives)
    assert terms["rpn_objectness"].total.item() == pytest.approx(expected, rel=1e-5)
    wanted = encode_deltas(torch.tensor([0.0, 0.0, 6.0, 6.0]), anchors[8])
    errors = (deltas[1][0, :4, 0, 0] - wanted).abs()
    parabola, line = 0.5 * errors**2 / SMOOTH_L1_BETA, errors - SMOOTH_L1_BETA / 2
    expected = torch.where(errors < SMOOTH_L1_BETA, parabola, line).sum().item()
    assert terms["rpn_box"].total.item() == pytest.approx(expected, rel=1e-5)


def test_smooth_l1_is_a_line_far_from_zero():
    logits, deltas, anchors, samples = rpn_case()
    far = [x + 100 for x in deltas]
    farther = [x + 101 for x in deltas]
    difference = rpn_terms(logits, farther, anchors, samples)["rpn_box"].total
    difference = difference - rpn_terms(logits, far, anchors, samples)["rpn_box"].total
    assert difference.item() == pytest.approx(4.0, rel=1e-4)  # one a delta


def test_box_terms_count_the_deltas_of_the_true_class_alone():
    targets = [target_of((0, 0, 8, 8)), target_of((2, 2, 6, 6), (1, 1, 5, 5))]
    truth = batched(targets)
    boxes = torch.tensor([[0.0, 0.0, 7.0, 7.0], [3.0, 3.0, 4.0, 4.0], [1.0, 1.0, 6.0, 6.0]])
    rois = RoISamples(boxes, long(0, 0, 1), long(1, 2, 0), long(0, 0, 1), torch.ones(3).bool())  # 2: background
    logits, deltas = torch.zeros(3, 3), torch.zeros(3, 8)
    weights = (10.0, 10.0, 5.0, 5.0)
    deltas[0, 4:8] = encode_deltas(targets[0].boxes[0], boxes[0], weights)
    deltas[2, 0:4] = encode_deltas(targets[1].boxes[1], boxes[2], weights)
    terms = box_terms(logits, deltas, rois, truth, weights)
    assert terms["box"].total.item() == pytest.approx(0, abs=1e-6)  # both positives are hit
    assert terms["classifier"].total.item() == pytest.approx(3 * math.log(3), rel=1e-6)
    assert [term.number for term in terms.values()] == [3, 3]
    other = deltas.clone()
    other[0, :4], other[1], other[2, 4:] = 7.0, 7.0, 7.0  # other classes, and the negative
    assert box_terms(logits, other, rois, truth, weights)["box"].total.item() == pytest.approx(0, abs=1e-6)
    wrong = deltas.clone()
    wrong[0, 4] += 1.0
    expected = 1.0 - SMOOTH_L1_BETA / 2
    assert box_terms(logits, wrong, rois, truth, weights)["box"].total.item() == pytest.approx(expected, rel=1e-5)


def test_padded_rows_change_neither_box_term_nor_a_gradient():
    truth = batched([target_of((0, 0, 8, 8))])
    boxes = torch.tensor([[0.0, 0.0, 7.0, 7.0], [3.0, 3.0, 4.0, 4.0], [0.0] * 4])
    rois = RoISamples(boxes, long(0, 0, 0), long(1, 2, 2), long(0, 0, 0), torch.tensor([True, True, False]))
    logits, deltas = torch.randn(3, 3), torch.randn(3, 8)
    logits[2], deltas[2] = 9.0, 9.0
    values = [logits.requires_grad_(), deltas.requires_grad_()]
    terms = box_terms(*values, rois, truth, (10.0, 10.0, 5.0, 5.0))
    real = box_terms(logits[:2], deltas[:2], rois.only_counted(), truth, (10.0, 10.0, 5.0, 5.0))
    for name, term in terms.items():
        assert term.number == real[name].number == 2
        assert term.total.item() == pytest.approx(real[name].total.item(), rel=1e-6)  # another order of a few sums
    terms["box"].total.backward()
    assert deltas.grad[2].eq(0).all()
    assert deltas.grad[0, 4:].ne(0).all()


def test_mask_terms_count_the_mask_of_the_true_class_alone():
    logits = torch.zeros(2, 3, 2, 2)
    wanted = torch.tensor([[[1.0, 0.0], [1.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]]])
    labels = long(1, 2)
    both = torch.ones(2).bool()
    term = mask_terms(logits, labels, wanted, both)["mask"]
    assert (term.total.item(), term.number) == (pytest.approx(8 * math.log(2)), 8)
    logits[0, 1] = torch.tensor([[50.0, -50.0], [50.0, -50.0]])
    logits[1, 2] = -50.0
    logits[0, 0], logits[1, 1] = 50.0, 50.0
    assert mask_terms(logits, labels, wanted, both)["mask"].total.item() == pytest.approx(0, abs=1e-9)
    # a row that does not count, of whatever label
    padded = torch.cat([logits, torch.full((1, 3, 2, 2), 9.0)])
    rows = (long(1, 2, 3), torch.cat([wanted, wanted[:1]]), torch.tensor([True, True, False]))
    term = mask_terms(padded, *rows)["mask"]
    assert (term.total.item(), term.number) == (pytest.approx(0, abs=1e-9), 8)


def test_softmax_mask_terms_by_hand():
    spec = MaskHeadSpec(activation="softmax")
    logits = torch.zeros(1, 4, 1, 3)  # 3 classes and the background: one quarter each
    wanted = torch.tensor([[[1.0, 0.0, 0.5]]])
    term = mask_terms(logits, long(1), wanted, ONE, spec)["mask"]
    assert (term.total.item(), term.number) == (pytest.approx(3 * math.log(4)), 3)
    logits[0, :, 0, 0] = torch.tensor([0.0, math.log(5), 0.0, 0.0])  # true class 5/8
    logits[0, :, 0, 1] = torch.tensor([0.0, 0.0, 0.0, math.log(2)])  # background 2/5
    logits[0, :, 0, 2] = torch.tensor([0.0, math.log(3), 0.0, math.log(6)])  # 3/11 and 6/11
    expected = -math.log(5 / 8) - math.log(2 / 5) - 0.5 * math.log(3 / 11) - 0.5 * math.log(6 / 11)
    assert mask_terms(logits, long(1), wanted, ONE, spec)["mask"].total.item() == pytest.approx(expected, rel=1e-6)
    # another class's mask is a wrong answer here, and none of the sigmoid's business
    louder = logits.clone()
    louder[0, 0] += 3.0
    assert mask_terms(louder, long(1), wanted, ONE, spec)["mask"].total > expected + 1
    sigmoid = [mask_terms(x[:, :3], long(1), wanted, ONE)["mask"].total for x in (logits, louder)]
    assert sigmoid[0] == sigmoid[1]


def test_softmax_mask_terms_of_whole_cells_are_torchs_cross_entropy():
    torch.manual_seed(0)
    logits, labels = torch.randn(5, 4, 6, 6), long(0, 2, 1, 1, 0)
    inside = torch.rand(5, 6, 6) > 0.5
    classes = torch.where(inside, labels[:, None, None], 3)
    term = mask_terms(logits, labels, inside.float(), torch.ones(5).bool(), MaskHeadSpec(activation="softmax"))["mask"]
    assert (term.total / term.number).item() == pytest.approx(
        torch.nn.functional.cross_entropy(logits, classes).item(), rel=1e-6
    )


def test_class_agnostic_mask_terms():
    torch.manual_seed(0)
    wanted, labels, both = torch.rand(2, 3, 3), long(5, 1), torch.ones(2).bool()
    two = torch.randn(2, 2, 3, 3)
    softmax = mask_terms(two, labels, wanted, both, MaskHeadSpec(activation="softmax", class_agnostic=True))
    sigmoid = mask_terms(two[:, :1] - two[:, 1:], labels, wanted, both, MaskHeadSpec(class_agnostic=True))
    # two probabilities that compete are a sigmoid of their difference
    assert softmax["mask"].total.item() == pytest.approx(sigmoid["mask"].total.item(), rel=1e-5)


def test_no_positives_have_no_mask_loss_but_a_gradient():
    logits = torch.zeros(0, 4, 2, 2, requires_grad=True)
    term = mask_terms(logits, long(), torch.zeros(0, 2, 2), ONE[:0], MaskHeadSpec(activation="softmax"))["mask"]
    assert (term.total.item(), term.number) == (0, 0)
    term.total.backward()
    assert logits.grad is not None


def test_gradients_are_those_of_finite_differences():
    logits, deltas, anchors, samples = rpn_case(torch.float64)
    tensors = [x.requires_grad_() for x in (*logits, *deltas)]
    # the losses run in float32, so the differences are wide and the tolerance is theirs
    settings = {"eps": 1e-2, "atol": 1e-2, "rtol": 1e-2, "nondet_tol": 0.0}

    def total(*values):
        terms = rpn_terms(values[:2], values[2:], anchors, samples)
        return sum(term.total for term in terms.values()).double()

    assert torch.autograd.gradcheck(total, tensors, **settings)
    masks = torch.randn(2, 3, 2, 2, dtype=torch.float64, requires_grad=True)
    wanted, both = torch.rand(2, 2, 2), torch.ones(2).bool()
    for spec in (MaskHeadSpec(), MaskHeadSpec(activation="softmax")):
        assert torch.autograd.gradcheck(
            lambda x, spec=spec: mask_terms(x, long(0, 1), wanted, both, spec)["mask"].total.double(),
            [masks],
            **settings,
        )


def test_averages_divide_and_nothing_gives_zero():
    weight = torch.tensor(6.0, requires_grad=True)
    terms = {"a": Term(weight * 2, torch.tensor(4)), "b": Term(weight * 0, torch.tensor(0))}
    losses = averages(terms, over_processes=False)
    assert losses["a"].item() == 3.0
    assert losses["b"].item() == 0.0
    losses["b"].backward()
    assert weight.grad.item() == 0.0


PROCESS = """
import json
import torch
from torch import distributed
from maskline_train.model.losses import Term, averages

distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
total, number = ((6.0, 3), (4.0, 1))[rank]  # three samples that sum to 6, one that sums to 4
terms = {"a": Term(torch.tensor(total), torch.tensor(number))}
found = [averages(terms, over_processes)["a"].item() for over_processes in (True, False)]
(folder / f"{rank}.json").write_text(json.dumps(found))
distributed.destroy_process_group()
"""


@pytest.mark.slow
def test_averages_over_processes_average_to_those_of_the_joint_batch(tmp_path):
    run_two(PROCESS, folder=tmp_path)
    (first, first_alone), (second, second_alone) = (json.loads((tmp_path / f"{i}.json").read_text()) for i in range(2))
    joint = (6.0 + 4.0) / (3 + 1)
    assert (first + second) / 2 == pytest.approx(joint)  # what DistributedDataParallel computes
    assert (first_alone, second_alone) == (2.0, 4.0)
