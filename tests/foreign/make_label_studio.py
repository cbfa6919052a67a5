"""Write tests/foreign/labelled/label_studio: two pictures in COCO's format by Label Studio's converter.

In an environment of its own that has label-studio-sdk 2.1.2, from the repository's root, after make_labelled.py, whose
pictures it takes: python tests/foreign/make_label_studio.py tests/foreign/labelled
"""

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

from label_studio_sdk.converter import Converter

CONFIG = """<View><Image name="image" value="$image"/><PolygonLabels name="label" toName="image">
<Label value="cat"/><Label value="dog"/></PolygonLabels></View>"""
# Points in percent: of 60 x 40 pixels x from 6 to 30 and y from 20 to 36.
POINTS = [[10, 50], [50, 50], [50, 90], [10, 90]]


def task(number, name):
    """A picture with one polygon."""
    value = {"points": POINTS, "closed": True, "polygonlabels": ["dog"]}
    size = {"original_width": 60, "original_height": 40, "image_rotation": 0}
    result = {"id": "x", "type": "polygonlabels", "from_name": "label", "to_name": "image", **size, "value": value}
    annotation = {"id": number, "completed_by": 1, "result": [result]}
    return {"id": number, "data": {"image": f"/data/upload/1/{name}"}, "annotations": [annotation]}


def write(folder):
    """Uploads are beside the export, as Label Studio keeps them, so the file's paths lead out of it."""
    os.chdir(tempfile.mkdtemp())
    for place in ("tasks", "uploads/1"):
        Path(place).mkdir(parents=True)
    for number, name in enumerate(("a", "none"), 1):
        shutil.copyfile(folder / "coco_default" / "images" / "default" / f"{name}.png", f"uploads/1/{name}.png")
        Path(f"tasks/{number}.json").write_text(json.dumps([task(number, f"{name}.png")]))
    converter = Converter(CONFIG, project_dir="uploads", upload_dir="uploads", download_resources=True)
    converter.convert_to_coco("tasks", "export", output_image_dir="export/images", is_dir=True)
    shutil.copytree("export", folder / "label_studio")


if __name__ == "__main__":
    write(Path(sys.argv[1]).resolve())
