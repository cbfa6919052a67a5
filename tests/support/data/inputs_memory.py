"""How much memory it takes to read, rasterise and score each file of the table: `python inputs_memory.py FOLDER`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from maskline_coco.metric import average_precision
from maskline_train.data.coco import CocoDataset
from support.data.inputs_table import COLUMNS, FIELDS, KIND, good, write


def peak_bytes() -> int:
    """The most memory that this process ever held."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def use(root: Path, text: str) -> None:
    """Read a split, draw its masks, score it."""
    write(root, text)
    try:
        dataset = CocoDataset(root, "train", KIND)
    except ValueError:
        return
    for index in range(len(dataset)):
        dataset.objects(index)
    truth = dataset.coco_api()
    results = [{**entry, "score": 1.0} for entry in truth.dataset["annotations"]]
    average_precision(truth, results, "segm", dataset.image_ids)


def main() -> None:
    """Print how many files were read and the memory on top of what a good file takes."""
    root = Path(sys.argv[1])
    use(root, json.dumps(good()))
    before = peak_bytes()
    texts = [field.text(column) for field in FIELDS for column in COLUMNS]
    for text in texts:
        use(root, text)
    print(json.dumps({"read": len(texts), "bytes": peak_bytes() - before}))  # noqa: T201 -- its answer


if __name__ == "__main__":
    main()
