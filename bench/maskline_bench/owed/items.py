"""What is claimed or aimed at for a GPU, most wanted first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from maskline_bench.compare.sides import EAGER, THEIRS, TRITON
from maskline_bench.device_ops.__main__ import TARGETS_US
from maskline_bench.engines.alternating import ENOUGH
from maskline_bench.full_size import HALF, INT8, KINDS, PYTORCH
from maskline_bench.owed.item import Item, Limit, Result
from maskline_bench.owed.same_answers import LOCAL
from maskline_bench.owed.same_answers import TRITON as SERVED
from maskline_bench.train_data.to_card import WORKERS
from maskline_bench.train_step.setting import OUR_SIDES

_QUICK = ("--device", "cpu", "--quick")
_CUDA = ("--device", "cuda")
_SERVING = ("gpu", "onnxruntime-gpu", "server", "op library")
# Of objects that two computations of another rounding find: those on a threshold differ (serving/gate.py).
_MATCHED = 0.97
# Of masks cut out at whole pixels from boxes that differ by a float16's rounding; both_models.Setting says why.
_MASK_IOU = 0.9
# Of bytes that nvJPEG and libjpeg-turbo decode, which round otherwise; wrong chroma or a turn would differ by tens.
_PIXELS_MEAN = 1.0
# Two thirds of five minutes at 100 answers a second are 20 000: 3 KiB lost with each would show.
_GROWTH_MIB = 64.0
# What a step of bf16 at 800x1088 is to reach.
_STEP_IMAGES_S = 170
# Of AP, 0..1: what a tenth of a point rounds to, five times over, and a point of each hundred.
_PRICE = {HALF: 0.005, INT8: 0.01}


def _side(name: str, run: str, figure: str) -> Callable[[Result], float]:
    return lambda result: float(result["sides"][name]["runs"][run][figure])


def _most(name: str, result: Result) -> float:
    return max(float(run["images_per_second"]) for run in result["sides"][name]["runs"].values())


def _fastest_of_theirs(result: Result) -> float:
    return max(_most(name, result) for name in THEIRS if name in result["sides"])


def _batch(result: Result, images: int) -> Any:
    return next(each for each in result["batches"] if each["batch"] == images)


def _steps(result: Result, images: int, figure: str) -> list[float]:
    """A figure of our training steps: as they are, compiled, recorded, both."""
    sides = _batch(result, images)["sides"]
    return [float(sides[name][figure]) for name in OUR_SIDES if name in sides]


def _answers(side: str) -> tuple[Limit, Limit]:
    return (
        Limit(f"{side}: share of objects matched", lambda r: r["sides"][side]["matched"], at_least=_MATCHED),
        Limit(f"{side}: mean IoU of masks", lambda r: r["sides"][side]["mask_iou"], at_least=_MASK_IOU),
    )


def _op(case: str, batch: int, aim_us: float) -> Limit:
    """A case of bench-device, µs an image of our first side."""

    def read(result: Result) -> float:
        found = next(e for e in result["cases"] if e["case"].startswith(case) and e["images"] == batch)
        return float(next(iter(found["us_an_image"].values())))

    return Limit(f"{case}, batch {batch}: µs an image", read, at_most=aim_us)


def _loader(workers: int) -> Limit:
    what = f"{workers} workers: images/s on the card"
    return Limit(what, lambda r: r["images_per_second"][str(workers)], at_least=_STEP_IMAGES_S)


def _price(side: str, kind: str) -> Limit:
    """What a precision costs of an AP."""
    return Limit(
        f"{side}: {kind} AP lost", lambda r: r["ap"][PYTORCH][kind] - r["ap"][side][kind], at_most=_PRICE[side]
    )


def _trained(part: int) -> Item:
    return Item(
        f"full_size_{part}",
        f"a network of full size trains on made pictures of 800 px, part {part} of three",
        ("gpu", "nvcc"),
        "maskline_bench.full_size",
        ("--part", "train", *_CUDA),
        ("--part", "train", *_QUICK),
        f"owed/full_size_{part}_{{card}}.json",
        (Limit("steps done", lambda r: r["steps"], at_least=1),),
    )


def _memory(part: int) -> Item:
    return Item(
        f"memory_{part}",
        f"memory of server and GPU is steady under five minutes of mixed sizes, part {part} of two",
        _SERVING,
        "maskline_bench.owed.steady_memory",
        _CUDA,
        _QUICK,
        f"owed/memory_{part}_{{card}}.json",
        (
            Limit("host: MiB grown", lambda r: r["growth_mib"]["host_mib"], at_most=_GROWTH_MIB),
            Limit("GPU: MiB grown", lambda r: r["growth_mib"]["gpu_mib"], at_most=_GROWTH_MIB),
            Limit("failed requests", lambda r: sum(r["errors"].values()), at_most=0),
            Limit("answers", lambda r: r["answers"], at_least=1),
        ),
    )


def _command(name: str, claim: str, needs: tuple[str, ...], line: str, trial: str, limits: tuple[Limit, ...]) -> Item:
    file = f"owed/{name}_{{card}}.json"
    return Item(name, claim, needs, "maskline_bench.owed.said", (line, *_CUDA), (trial, *_QUICK), file, limits)


_EXIT = Limit("exit status", lambda r: r["exit"], at_most=0)
_PASSED = Limit("tests passed", lambda r: r["tests"]["passed"], at_least=1)
_SKIPPED = Limit("tests skipped", lambda r: r["tests"]["skipped"], at_most=0)
_PARTS = Limit("parts run", lambda r: len(r["parts"]), at_least=3)

ITEMS: tuple[Item, ...] = (
    Item(
        "through_triton",
        "JPEG in, RLE out through the real Triton server: fast alone and with 48 in flight, beside torchvision",
        _SERVING,
        "maskline_bench.compare",
        _CUDA,
        _QUICK,
        "compare_cuda_{card}.json",
        (
            Limit("images/s, the most of 1 to 48 in flight", lambda r: _most(TRITON, r), at_least=220),
            Limit("ms, p50 at one in flight", _side(TRITON, "1", "p50_ms"), at_most=20),
            Limit("times torchvision eager", lambda r: _most(TRITON, r) / _most(EAGER, r), at_least=7),
            Limit("times torchvision's fastest form", lambda r: _most(TRITON, r) / _fastest_of_theirs(r), at_least=2),
        ),
    ),
    Item(
        "same_answers",
        "detections on the GPU, by LocalDetector and through Triton, are those of the CPU in float32",
        _SERVING,
        "maskline_bench.owed.same_answers",
        _CUDA,
        _QUICK,
        "owed/same_answers_{card}.json",
        (*_answers(LOCAL), *_answers(SERVED)),
    ),
    Item(
        "fallback",
        "no node of the served stages falls back to the CPU",
        ("gpu", "onnxruntime-gpu", "op library"),
        "maskline_bench.owed.fallback",
        _CUDA,
        _QUICK,
        "owed/fallback_{card}.json",
        (
            Limit("nodes at another provider", lambda r: r["fallen_back"], at_most=0),
            Limit("nodes", lambda r: sum(sum(n.values()) for n in r["nodes"].values()), at_least=1),
        ),
    ),
    Item(
        "device_decode",
        "decoding and resizing on the card finds what the host's does, and is not slower",
        (*_SERVING, "nvimagecodec"),
        "maskline_bench.owed.device_decode",
        _CUDA,
        _QUICK,
        "owed/device_decode_{card}.json",
        (
            Limit("share of objects matched", lambda r: r["detections"]["matched"], at_least=_MATCHED),
            Limit("mean IoU of masks", lambda r: r["detections"]["mask_iou"], at_least=_MASK_IOU),
            Limit(
                "mean difference of decoded bytes",
                lambda r: max(row["decoded"]["mean"] for row in r["pixels"]),
                at_most=_PIXELS_MEAN,
            ),
            Limit(
                "times the images/s of the host's",
                lambda r: r["images_per_second"]["device"] / r["images_per_second"]["host"],
                at_least=1,
            ),
            Limit("failed requests", lambda r: r["errors"], at_most=0),
        ),
    ),
    Item(
        "engines",
        "the three sessions alone, fp16",
        ("gpu", "onnxruntime-gpu", "op library"),
        "maskline_bench.engines",
        (*_CUDA, "--precision", "fp16", "--batch", "1", "--batch", "8", "--rounds", "50"),
        (*_QUICK, "--rounds", "1"),
        "engines_{card}_fp16.json",
        (
            Limit(
                "images/s at batch 8", lambda r: 1e3 / _batch(r, 8)["ms_an_image"]["dense + library"], at_least=300
            ),
            Limit("ms at batch 1", lambda r: _batch(r, 1)["ms_an_image"]["dense + library"], at_most=4),
        ),
    ),
    _memory(1),
    _memory(2),
    _command(
        "op_tests",
        "every kernel against the oracle, MaskRLE with either `paste` rule",
        ("gpu", "nvcc", "headers"),
        "make test-gpu PARTS='configure build tests'",
        "python -m pytest -q -p no:cacheprovider -k simt tests/plugins/ops/test_mask_rle.py",
        (_EXIT, _PASSED, Limit("tests failed", lambda r: r["tests"]["failed"] + r["tests"]["error"], at_most=0)),
    ),
    Item(
        "batch_sizes",
        "one session whose batch sizes alternate is as fast, within a tenth, as a session for each size",
        ("gpu", "onnxruntime-gpu", "op library"),
        "maskline_bench.engines.alternating",
        (*_CUDA, "--precision", "fp16"),
        (*_QUICK, "--rounds", "1"),
        "owed/batch_sizes_{card}.json",
        (Limit("one session to one a size", lambda r: max(r["shared_over_each"].values()), at_most=ENOUGH),),
    ),
    _command(
        "served_stages",
        "the tests of the target onnxruntime-gpu: tensors by DLPack, padded batches, 48 requests in flight, no node "
        "left to the CPU",
        _SERVING,
        "python -m pytest -q -p no:cacheprovider tests/unit/serve/gpu tests/serve/gpu",
        "python -m pytest -q -p no:cacheprovider tests/unit/serve/gpu/test_device_tensors.py",
        (_EXIT, _PASSED),
    ),
    Item(
        "by_pycuda",
        "a kernel of ours on memory, stream and events of pycuda, as engines have them, without TensorRT",
        ("gpu", "nvcc", "pycuda"),
        "maskline_bench.owed.by_pycuda",
        _CUDA,
        _QUICK,
        "owed/by_pycuda_{card}.json",
        (
            Limit("elements that come back changed", lambda r: sum(r["changed"].values()), at_most=0),
            # tests/plugins/tolerances.py has each type's to the oracle, with reasons; float32 counts once for each side
            Limit("largest error, FP32", lambda r: r["error"]["FP32"], at_most=2e-5),
            Limit("largest error, FP16", lambda r: r["error"]["FP16"], at_most=4e-3),
            Limit("largest error, BF16", lambda r: r["error"]["BF16"], at_most=2e-2),
            # `ops` measures some 0.1 ms in fp16 on an H100; float32 in the plain layout on a small card takes longer
            Limit("ms a launch", lambda r: r["ms_a_launch"], at_most=20),
            # The clock has the first launch and the wait besides; events on another stream would see next to nothing
            Limit("time by events over the clock's", lambda r: r["events_over_clock"], at_least=0.5),
            Limit("the same, at most", lambda r: r["events_over_clock"], at_most=1.02),
        ),
    ),
    _command(
        "tensorrt",
        "engines of a real TensorRT with our plugins find stage by stage what ONNX Runtime finds",
        ("gpu", "tensorrt", "nvcc"),
        "make test-tensorrt",
        "maskline-export verify-engines --help",
        (_EXIT,),
    ),
    _command(
        "tensorrt_full",
        "the same of ResNet-50-FPN",
        ("gpu", "tensorrt", "nvcc"),
        "make test-tensorrt FULL=1",
        "maskline-export verify-engines --help",
        (_EXIT,),
    ),
    Item(
        "training",
        "a training step of ResNet-50-FPN in bf16, 800x1088, as it is, compiled, recorded, beside torchvision's",
        ("gpu", "nvcc"),
        "maskline_bench.train_step",
        (*_CUDA, "--batch", "2", "--batch", "8", "--rounds", "10"),
        _QUICK,
        "train_step_{card}.json",
        (
            Limit("batch 8: images/s", lambda r: max(_steps(r, 8, "images_per_second")), at_least=130),
            Limit(
                "batch 8: times torchvision under autocast",
                lambda r: max(_steps(r, 8, "ratio_of_medians")), at_least=2.9,
            ),
            Limit(
                "batch 8: synchronisations a step",
                lambda r: max(_steps(r, 8, "synchronisations_a_step")), at_most=3,
            ),
            Limit("batch 2: images/s", lambda r: max(_steps(r, 2, "images_per_second")), at_least=70),
        ),
    ),
    _command(
        "training_ops",
        "the ops of a training step through PyTorch, forward and backward: those of the CPU in every mode and type, "
        "without waiting for the GPU, captured in a CUDA graph; whole steps that are recorded; steps that `new` times",
        ("gpu", "nvcc"),
        "python -m pytest -q -p no:cacheprovider tests/plugins/training tests/unit/train/training/test_graphs.py "
        "tests/unit/train/new/test_on_a_gpu.py",
        "python -m pytest -q -p no:cacheprovider -k 'not cuda' tests/plugins/training/test_step_of_training.py",
        (_EXIT, _PASSED, _SKIPPED),
    ),
    _trained(1),
    _trained(2),
    _trained(3),
    Item(
        "full_size",
        "the network of full size is trained, and finds as much through every link of the line, in float16 and int8",
        _SERVING,
        "maskline_bench.full_size",
        ("--part", "answers", *_CUDA),
        ("--part", "answers", *_QUICK),
        "owed/full_size_{card}.json",
        (
            Limit("minutes of training", lambda r: r["minutes"], at_most=25),
            Limit("mask AP in PyTorch", lambda r: r["ap"][PYTORCH]["mask"], at_least=0.5),
            *(_price(side, kind) for side in _PRICE for kind in KINDS),
        ),
    ),
    Item(
        "loader",
        "the loader is never what a training waits for: 4, 8 and 15 workers bring more images to the card than a step "
        "is to take",
        ("gpu", "cores"),
        "maskline_bench.train_data.to_card",
        _CUDA,
        _QUICK,
        "owed/loader_{card}.json",
        (
            *(_loader(workers) for workers in WORKERS),
        ),
    ),
    Item(
        "ops",
        "the ops alone, by replays of a CUDA graph",
        ("gpu", "nvcc"),
        "maskline_bench.device_ops",
        (),
        ("--dry-run", "--batch", "2"),
        "device_ops_{card}.json",
        (
            *(_op(name, batch, aim) for name, aims in TARGETS_US.items() for batch, aim in aims.items()),
        ),
    ),
    _command(
        "sanitizers",
        "harness with CUDA graph capture; memcheck, initcheck, racecheck and synccheck",
        ("gpu", "nvcc", "headers", "compute-sanitizer"),
        "make test-gpu PARTS='configure build harness sanitizer_harness_memcheck sanitizer_harness_initcheck "
        "sanitizer_memcheck sanitizer_racecheck sanitizer_synccheck'",
        "echo '== harness: exit 0'",
        (_EXIT, _PARTS),
    ),
)  # fmt: skip
