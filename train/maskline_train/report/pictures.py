"""The pictures of a report: images with truth and answer side by side, objects cut out with what is around them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from maskline_command.wording import counted
from maskline_show.parts import picture, section, text
from maskline_show.thinned import draw_within
from maskline_show.window import draw_one
from PIL import Image

from maskline_train.data.coco import CocoDataset
from maskline_train.evaluation.drawn import Drawn, found, known
from maskline_train.evaluation.evaluate import Result
from maskline_train.report.findings import Findings, Found

IMAGE_PX, CROP_PX = 512, 256  # longest sides: with at most 20 images and 24 crops a page stays below 10 MB


class ReportPictures:
    """Draws on the images of an evaluated split."""

    def __init__(self, dataset: CocoDataset, results: Sequence[Result], findings: Findings) -> None:
        """Keep the results of the images that may be shown."""
        self._dataset, self._findings = dataset, findings
        shown = {dataset.image_ids[index] for index, _ in (*findings.worst, *findings.best)}
        shown |= {dataset.image_ids[one.index] for one in findings.false}
        self._results: dict[int, list[Result]] = {key: [] for key in shown}
        for result in results:
            if result["image_id"] in shown:
                self._results[result["image_id"]].append(result)

    def images(self, title: str, note: str, chosen: Iterable[tuple[int, float]]) -> str:
        """A section of images by (index, likeness), a pair each; "" of none."""
        pairs = "".join(self._pair(index, likeness) for index, likeness in chosen)
        return section(title, pairs, note) if pairs else ""

    def missed(self) -> str:
        """The objects that were not found."""
        note = "Objects on which nothing was found, whatever its class; those that cover most of their image first."
        return _grid("Hardest misses", note, [self._miss(one) for one in self._findings.missed])

    def false(self) -> str:
        """The detections that are wrong."""
        note = "Detections without an object of their class, the most certain first."
        return _grid("Confident false finds", note, [self._wrong(one) for one in self._findings.false])

    def _pair(self, index: int, likeness: float) -> str:
        image = Image.fromarray(self._dataset.image(index))
        sure = [one for one in self._of(index) if one["score"] >= self._findings.threshold]
        sides = {"truth": known(self._dataset, index), "found": self._drawn(index, sure)}
        shown = "".join(
            f"<figure>{picture(draw_within(image, drawn, IMAGE_PX), name)}"
            f"<figcaption>{name}: {counted(len(drawn.names), 'object')}</figcaption></figure>"
            for name, drawn in sides.items()
        )
        name = text(self._dataset[index].file_name)
        return f'<h3>{name}, likeness {likeness:.2f}</h3><div class="pair">{shown}</div>'

    def _miss(self, one: Found) -> str:
        truth = known(self._dataset, one.index)
        drawn = draw_one(Image.fromarray(self._dataset.image(one.index)), truth, one.row, CROP_PX)
        share = f"{100 * one.weight:.2g} % of {self._dataset[one.index].file_name}"
        return _figure(drawn, f"{truth.names[one.row]}, {share}")

    def _wrong(self, one: Found) -> str:
        image = Image.fromarray(self._dataset.image(one.index))
        result = self._of(one.index)[one.row]
        drawn = draw_one(image, self._drawn(one.index, [result]), 0, CROP_PX)
        name = self._dataset.classes[self._dataset.category_ids.index(result["category_id"])]
        truth = "nothing is there" if one.other is None else f"it is: {self._dataset.classes[one.other]}"
        return _figure(drawn, f"{name} {100 * one.weight:.0f} %, {truth}; {self._dataset[one.index].file_name}")

    def _of(self, index: int) -> list[Result]:
        return self._results[self._dataset.image_ids[index]]

    def _drawn(self, index: int, results: Sequence[Result]) -> Drawn:
        data = self._dataset
        return found(results, data.sizes[index], data.classes, data.category_ids, data.keypoint_names)


def _figure(drawn: Image.Image, said: str) -> str:
    return f"<figure>{picture(drawn, said)}<figcaption>{text(said)}</figcaption></figure>"


def _grid(title: str, note: str, figures: Sequence[str]) -> str:
    return section(title, f'<div class="grid">{"".join(figures)}</div>', note) if figures else ""
