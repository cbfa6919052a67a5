"""Whatever runs whole stages by name: TensorRT engines, a server's inner models. What is inside them stays unseen."""

from __future__ import annotations

from collections.abc import Callable

from maskline_train.spec import ModelSpec

from maskline_export.manifest import Precision
from maskline_export.verify.lines.found import Answer, Found, Given, Picture, answer_of, chained
from maskline_export.verify.onnx_runtime import Tensors

RunStage = Callable[[str, Tensors], Tensors]


class StageLine:
    """Stages by name.

    Args:
        title: what the line is called.
        precision: decides the limits.
        stages: names, in the order of the line.
        run: takes a stage's name and inputs and gives its outputs; rounds float32 features itself where it must.
        spec: of the model.
    """

    def __init__(
        self, title: str, precision: Precision, stages: tuple[str, ...], run: RunStage, spec: ModelSpec
    ) -> None:
        self.title, self.precision, self._stages, self._run, self._spec = title, precision, stages, run, spec

    def answer(self, picture: Picture) -> Answer:
        """What the chained stages find in a picture."""
        tensors: Tensors = {"canvas": picture.canvas, "image_info": picture.info}
        return answer_of(chained(self._run, self._stages, tensors), picture, self._spec)

    def find(self, given: Given) -> Found:
        """What each stage makes of the reference's inputs."""
        second = self._run("proposal", given.proposal)
        heads = {name: self._run(name, given.heads) for name in self._stages if name not in ("backbone", "proposal")}
        return Found(
            self.answer(given.picture),
            backbone=self._run("backbone", given.backbone),
            boxes=second["boxes"][0],
            scores=second["scores"][0],
            labels=second["labels"][0],
            masks=heads["mask"]["masks"][0] if "mask" in heads else None,
            keypoints=heads["keypoint"]["keypoints"][0] if "keypoint" in heads else None,
        )
