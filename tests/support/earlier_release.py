"""A repository as releases assembled it before its models had a revision: made of one of today's, backwards."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

from maskline_serve.repository.description import sha256
from maskline_serve.repository.names import word_of
from maskline_serve.repository.on_disk import FILE, files_in

NEW_PARAMETERS = ("precision", "maskline", "revision")


def without_revision(repository: Path) -> Path:
    """Take out of it what those releases did not know, in place: tags, the ensemble of boxes, parameters, entries."""
    models = repository / "models"
    for word in ("maskrcnn_boxes", "postprocess_boxes"):
        (folder,) = (path for path in models.iterdir() if word_of(path.name) == word)
        shutil.rmtree(folder)
    for folder in list(models.iterdir()):
        path = folder / "config.pbtxt"
        text = re.sub(r'(name: "\w+)-[0-9a-f]{12}"', r'\1"', path.read_text(encoding="utf-8"))
        for name in NEW_PARAMETERS:
            text = re.sub(rf'parameters {{ key: "{name}".*\n', "", text)
        path.write_text(text, encoding="utf-8")
        folder.rename(models / word_of(folder.name))
    description = repository / FILE
    entries = json.loads(description.read_text(encoding="utf-8"))
    del entries["name"], entries["revision"]
    entries["files"] = {path.relative_to(repository).as_posix(): sha256(path) for path in files_in(repository)}
    description.write_text(json.dumps(entries), encoding="utf-8")
    return repository
