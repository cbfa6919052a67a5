"""Write golden.json: what an mmdetection network finds in the pictures of a folder. Needs mmdetection 3.x.

python golden.py config.py model.pth PICTURES
"""

import json
import sys
from pathlib import Path

import numpy as np
from mmdet.apis import inference_detector, init_detector
from pycocotools import mask as coco_mask

config, weights, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
network = init_detector(config, weights, device="cpu")  # where sums are those of the machine that checks
images = {}
for path in sorted(folder.iterdir()):
    if path.suffix.lower() not in (".jpg", ".jpeg", ".png", ".webp"):
        continue
    found = inference_detector(network, str(path)).pred_instances
    answer = {
        "image": path.name,
        "boxes": found.bboxes.tolist(),
        "scores": found.scores.tolist(),
        "classes": found.labels.tolist(),
    }
    if "masks" in found:
        masks = np.asfortranarray(found.masks.numpy().astype(np.uint8).transpose(1, 2, 0))
        answer["masks"] = [{**rle, "counts": rle["counts"].decode()} for rle in coco_mask.encode(masks)]
    images[path.name] = answer
    sys.stdout.write(f"{path.name}: {len(found)} objects\n")
(folder / "golden.json").write_text(json.dumps({"images": images}))
