"""Every command with words that make it do little and do all of its kinds of work.

In the words, IN is a folder of inputs (`inputs.py`), OUT one to write into, URL a server.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

RECIPE = Path(__file__).parents[1] / "models" / "tiny_recipe.py"
MODULES = {
    "maskline": "maskline.__main__",
    "maskline-train": "maskline_train.__main__",
    "maskline-export": "maskline_export.__main__",
    "maskline-serve": "maskline_serve.cli",
    "maskline-client": "maskline_client.commands.main",
}


@dataclasses.dataclass(frozen=True)
class CommandLine:
    """One command.

    Attributes:
        name: as it is typed, without its words.
        words: what follows.
        reads: folders of IN that it needs.
    """

    name: str
    words: str
    reads: tuple[str, ...] = ()

    @property
    def module(self) -> str:
        return MODULES[self.name.split()[0]]

    def arguments(self, inputs: Path, out: Path, url: str) -> list[str]:
        """The words behind the program's name."""
        places = {"IN": str(inputs), "OUT": str(out), "URL": url}
        found = [*self.name.split()[1:], *self.words.split()]
        for word, place in places.items():
            found = [place + text[len(word) :] if text.split("/")[0] == word else text for text in found]
        return found


COMMANDS = [
    CommandLine(
        "maskline ship",
        "IN/foreign/model_final.pth OUT/repository --config IN/foreign/config.yaml --classes IN/foreign/classes.txt "
        "--images IN/photos --keep OUT/kept",
        ("foreign", "photos"),
    ),
    CommandLine(
        "maskline-train new",
        "IN/shapes --out OUT/recipe.py --init IN/checkpoint --minutes 0.1",
        ("checkpoint", "shapes"),
    ),
    CommandLine("maskline-train fit", f"{RECIPE} --data IN/shapes --out OUT/run --steps 2", ("shapes",)),
    CommandLine(
        "maskline-train evaluate",
        "IN/checkpoint --data IN/shapes --json OUT/ap.json --overlaps OUT/pictures",
        ("checkpoint", "shapes"),
    ),
    CommandLine("maskline-train predict", "IN/checkpoint IN/photos --out OUT/pictures", ("checkpoint", "photos")),
    CommandLine(
        "maskline-train import",
        "IN/foreign/model_final.pth OUT/checkpoint --config IN/foreign/config.yaml --classes IN/foreign/classes.txt",
        ("foreign",),
    ),
    CommandLine("maskline-train recipes", ""),
    CommandLine(
        "maskline-train ablate",
        f"seeds --row seed-0 --data IN/shapes --out OUT/tables --recipe {RECIPE} --steps 1",
        ("shapes",),
    ),
    CommandLine("maskline-train tables", ""),
    CommandLine(
        "maskline-train four-step", f"{RECIPE} --data IN/shapes --out OUT/run --steps 1 --unshared", ("shapes",)
    ),
    CommandLine(
        "maskline-train distil",
        "IN/checkpoint --data IN/shapes --images IN/photos --out OUT/set",
        ("checkpoint", "shapes", "photos"),
    ),
    CommandLine("maskline-train data digits", "OUT/set --train-images 1 --val-images 1"),
    CommandLine("maskline-train data figures", "OUT/set --train-images 1 --val-images 1"),
    CommandLine("maskline-train data check", "IN/shapes", ("shapes",)),
    CommandLine("maskline-train data cityscapes", "IN/cityscapes OUT/set", ("cityscapes",)),
    CommandLine("maskline-train data convert", "masks IN/masks OUT/set --class blob", ("masks",)),
    CommandLine("maskline-train data tiles", "IN/shapes OUT/set --size 64", ("shapes",)),
    CommandLine("maskline-export onnx", "IN/checkpoint OUT/artifact", ("checkpoint",)),
    CommandLine("maskline-export typed", "IN/dense OUT/artifact", ("dense",)),
    CommandLine(
        "maskline-export quantize",
        "IN/artifact OUT/int8 --calibration IN/calibration --allow-slower --json OUT/price.json",
        ("artifact", "calibration"),
    ),
    CommandLine("maskline-export engine", "IN/dense OUT/engines --rtx --plugin-free", ("dense",)),
    CommandLine(
        "maskline-export verify",
        "IN/checkpoint IN/artifact --images IN/photos --json OUT/report.json",
        ("checkpoint", "artifact", "photos"),
    ),
    CommandLine("maskline-export verify-engines", "IN/dense IN/engines"),  # says that it lacks TensorRT
    CommandLine("maskline-serve assemble", "IN/standin OUT/repository", ("standin",)),
    CommandLine("maskline-serve run", "IN/repository --grpc-port 0 --http-port 0 --metrics-port 0", ("repository",)),
    CommandLine("maskline-serve update", "IN/repository --url URL", ("repository",)),
    CommandLine("maskline-serve doctor", "IN/repository", ("repository",)),
    CommandLine(
        "maskline-client bench",
        "--images IN/photos --out OUT/bench --url URL --requests 2 --warmup 0 --concurrency 1",
        ("photos",),
    ),
    CommandLine(
        "maskline-client compare",
        "maskrcnn nuclei --images IN/photos --json OUT/compare.json --page OUT/compare.html --url URL",
        ("photos",),
    ),
    CommandLine("maskline-client page", "--url URL --port 0"),
    CommandLine("maskline-client detect", "IN/photos --out OUT/pictures --url URL", ("photos",)),
    CommandLine(
        "maskline-client evaluate",
        "--data IN/photo_set --json OUT/ap.json --results OUT/results.json --url URL",
        ("photo_set",),
    ),
    CommandLine("maskline-client predict", "IN/photos --out OUT/lines --url URL", ("photos",)),
    CommandLine("maskline-client health", "--url URL"),
]
