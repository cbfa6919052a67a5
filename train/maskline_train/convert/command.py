"""`maskline-train import`: a trained network of another framework as a checkpoint of ours.

The types of its options stand by themselves: `maskline ship` has the same.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from maskline_train.files import refuse_existing, whole_folder

# Not readable=True: a file that must not be read is named as by every command, docs/commands.md.
File = Annotated[
    Path, typer.Argument(readable=False, help="Weights: .pth, .pkl or .safetensors; nothing in them is run.")
]
Config = Annotated[
    Path | None,
    typer.Option(
        readable=False,
        help="The framework's config, as it lies beside the weights; mmdetection's, if it is not inside.",
    ),
]
Classes = Annotated[
    str | None, typer.Option(help="Class names, a,b,c or a file with one a line, in the order of training.")
]
Keypoints = Annotated[str | None, typer.Option(help="Names of the keypoints, likewise; COCO's 17 are known.")]
Channels = Annotated[
    Literal["bgr", "rgb"] | None, typer.Option(help="Order of the channels in training, if the config is wrong.")
]
ZooSettings = Annotated[
    bool, typer.Option("--zoo-settings", help="No config: take the settings of the framework's model zoo.")
]
NormEps = Annotated[
    float | None, typer.Option(min=0, help="torchvision: 0 for its COCO weights, 1e-5 for a model built without.")
]
Weights = Annotated[str | None, typer.Option(help="Which one, where the file holds several state dicts.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", help="A field of model.json, e.g. box_head.score_thresh=0.3; several times."),
]
Check = Annotated[
    Path | None,
    typer.Option(help="Folder of pictures: the source's answers beside ours; fails under 95 % in common."),
]


def _print_script(framework: str | None) -> None:
    """What --golden-script does."""
    if framework is not None:
        script = Path(__file__).parent / "check" / f"golden_{framework}.py"
        typer.echo(script.read_text(encoding="utf-8"), nl=False)
        raise typer.Exit


def import_command(
    file: File,
    out: Annotated[Path, typer.Argument(help="Checkpoint folder to make.")],
    config: Config = None,
    classes: Classes = None,
    keypoints: Keypoints = None,
    channels: Channels = None,
    zoo_settings: ZooSettings = False,
    norm_eps: NormEps = None,
    weights: Weights = None,
    settings: Settings = None,
    check: Check = None,
    data: Annotated[
        Path | None, typer.Option(help="COCO-format folder: AP there, and what a list of canvases changes in it.")
    ] = None,
    split: Annotated[str, typer.Option(help="The split of --data to score on.")] = "val",
    golden_script: Annotated[
        Literal["detectron2", "mmdetection"] | None,
        typer.Option(
            callback=_print_script,
            is_eager=True,
            help="Print the script that makes golden.json for --check where that is installed, and exit.",
        ),
    ] = None,
) -> None:
    """Make a checkpoint of a Mask R-CNN of detectron2, mmdetection, torchvision, maskrcnn-benchmark or Detectron.

    It says what it found, what it took for granted, what it left out and where answers differ. What is not known and
    matters is asked for. --check DIR runs torchvision beside it, or reads what the others found from DIR/golden.json,
    and fails where less than 95 % of the detections from score 0.5 on are found by both (same class, IoU 0.9).
    --data DIR prints the AP, where each picture has a canvas of its own also that on the list that engines need.

    Example: maskline-train import model_final.pth out/mine --config config.yaml --classes cat,dog
    Then: maskline-train predict out/mine photo.jpg --out out/pictures
    """
    from maskline_command.console import results

    from maskline_train.checkpoint import save_model
    from maskline_train.convert.check.average_precision import show_average_precision
    from maskline_train.convert.check.run import answers_of, run_check
    from maskline_train.convert.file import import_file
    from maskline_train.convert.options import typed_options
    from maskline_train.evaluation.ground_truth import dataset_of

    refuse_existing(out, ValueError)
    options = typed_options(config, classes, keypoints, channels, zoo_settings, norm_eps, settings)
    imported = import_file(file, options, weights)
    answers = None if check is None else answers_of(imported, check)
    dataset = None if data is None else dataset_of(data, split, imported.model.spec)
    if dataset is not None:
        dataset.check_headers(range(len(dataset)))
    with whole_folder(out, ValueError) as scratch:
        save_model(scratch, imported.model)
    console = results()
    for line in imported.report.lines():
        console.print(line, soft_wrap=True)
    console.print(f"{out}: a checkpoint; look at what it finds: maskline-train predict {out} IMAGE --out FOLDER")
    if dataset is not None:
        show_average_precision(imported.model, dataset)
    if answers is not None:
        run_check(imported.model, answers)
        console.print(
            f"PyTorch against ONNX Runtime: maskline-export onnx {out} ARTIFACT, then "
            f"maskline-export verify {out} ARTIFACT --images {answers.pictures}",
            soft_wrap=True,
        )
