"""An artifact in ONNX Runtime: all stages can be seen, down to the features that a head pools.

Letters: D detections an image, R proposals an image.
"""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import TensorProto

from maskline_export.errors import ContractError
from maskline_export.manifest import Manifest, Precision
from maskline_export.onnx_file import load_onnx
from maskline_export.verify.lines.found import Answer, Found, Given, Picture, answer_of
from maskline_export.verify.onnx_runtime import Device, OnnxModel, OnnxPipeline
from maskline_export.verify.probes import custom_node, pooled_features, with_outputs, without_node

_WORDS = {"cpu": "CPU", "cuda": "CUDA"}


class OnnxLine:
    """The stages of an artifact, whole and with what is inside them as outputs.

    Args:
        artifact: folder of the stages.
        manifest: of it.
        name: what the line is called before where it runs.
        threads: of ONNX Runtime, 0 for all cores.
        library: `libmaskline_ort.so`; None runs the bodies of our ops.
        device: what it computes on.

    Raises:
        ContractError: ONNX Runtime does not run it here.
    """

    def __init__(
        self,
        artifact: Path,
        manifest: Manifest,
        name: str = "ONNX Runtime",
        threads: int = 0,
        library: Path | None = None,
        device: Device = "cpu",
    ) -> None:
        if manifest.precision == "bf16":
            raise ContractError(
                f"{artifact}: got precision bf16, for which ONNX Runtime has no convolutions; build its engines with "
                "`maskline-export engine` and compare those: --engines DIR"
            )
        self.title = f"{name}: {manifest.precision}, {_WORDS[device]}, {'bodies' if library is None else 'op library'}"
        self.precision: Precision = manifest.precision
        self._spec = manifest.spec

        def model(graph: onnx.ModelProto) -> OnnxModel:
            return OnnxModel(graph, threads, library, device)

        self._chain = OnnxPipeline(artifact, threads, library, device)
        self._labels = tuple((artifact / manifest.labels.file).read_text(encoding="utf-8").splitlines())
        proposal = load_onnx(artifact / "proposal.onnx")
        nms, classwise = (custom_node(proposal, name) for name in ("ProposalNMS", "ClasswiseNMS"))
        self._proposals = model(with_outputs(proposal, {"proposals": nms.output[0]}))
        inner = {"class_logits": classwise.input[0], "box_deltas": classwise.input[1]}
        probed = with_outputs(proposal, {"roi_features": pooled_features(proposal), **inner})
        types: dict[str, int] = {nms.output[0]: TensorProto.FLOAT, nms.output[1]: TensorProto.INT32}
        self._heads = model(without_node(probed, nms, types))
        self._proposal_names = tuple(nms.output[:2])
        self._mask: OnnxModel | None = None
        if "mask" in self._chain.stages:
            mask = load_onnx(artifact / "mask.onnx")
            self._mask = model(with_outputs(mask, {"roi_features": pooled_features(mask)}))

    def answer(self, picture: Picture) -> Answer:
        """What the chained stages find in a picture."""
        return answer_of(self._chain.detect(picture.canvas, picture.info), picture, self._spec)

    def find(self, given: Given) -> Found:
        """What each stage makes of the reference's inputs; the canvas is made by the artifact's own settings."""
        own = Picture.of(given.picture.name, given.picture.pixels, self._spec, given.picture.file)
        heads = self._heads.run(
            given.proposal | dict(zip(self._proposal_names, (given.proposals, given.num_proposals), strict=True))
        )
        mask = {} if self._mask is None else self._mask.run(given.heads)
        keypoint = self._chain.stages.get("keypoint")
        answer = self.answer(own)
        return Found(
            Answer(answer.boxes, answer.scores, answer.labels, answer.masks, answer.keypoints, self._labels),
            canvas=own.canvas,
            backbone=self._chain.stages["backbone"].run(given.backbone),
            proposals=self._proposals.run(given.proposal)["proposals"][0],
            box_features=heads["roi_features"],
            class_logits=heads["class_logits"],
            box_deltas=heads["box_deltas"],
            boxes=heads["boxes"][0],
            scores=heads["scores"][0],
            labels=heads["labels"][0],
            mask_features=mask.get("roi_features"),
            masks=mask["masks"][0] if mask else None,
            keypoints=None if keypoint is None else keypoint.run(given.heads)["keypoints"][0],
        )
