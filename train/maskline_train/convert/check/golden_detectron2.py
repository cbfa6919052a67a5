"""Write golden.json: what a detectron2 network finds in the pictures of a folder. Needs detectron2 0.6.

python golden.py config.yaml model_final.pth PICTURES
"""

import json
import sys
from pathlib import Path

import numpy as np
from detectron2.config import get_cfg
from detectron2.data.detection_utils import read_image
from detectron2.engine import DefaultPredictor
from pycocotools import mask as coco_mask

config, weights, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
cfg = get_cfg()
cfg.merge_from_file(config)
cfg.MODEL.WEIGHTS = weights
cfg.MODEL.DEVICE = "cpu"  # where sums are those of the machine that checks
predictor = DefaultPredictor(cfg)
images = {}
for path in sorted(folder.iterdir()):
    if path.suffix.lower() not in (".jpg", ".jpeg", ".png", ".webp"):
        continue
    found = predictor(read_image(str(path), format="BGR"))["instances"]  # upright; BGR is what a predictor wants
    answer = {
        "image": path.name,
        "boxes": found.pred_boxes.tensor.tolist(),
        "scores": found.scores.tolist(),
        "classes": found.pred_classes.tolist(),
    }
    if found.has("pred_masks"):
        masks = np.asfortranarray(found.pred_masks.numpy().astype(np.uint8).transpose(1, 2, 0))
        answer["masks"] = [{**rle, "counts": rle["counts"].decode()} for rle in coco_mask.encode(masks)]
    if found.has("pred_keypoints"):
        answer["keypoints"] = found.pred_keypoints.tolist()
    images[path.name] = answer
    sys.stdout.write(f"{path.name}: {len(found)} objects\n")
(folder / "golden.json").write_text(json.dumps({"images": images}))
