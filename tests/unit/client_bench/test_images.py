"""The images of a benchmark: files of the formats that the server takes, and no others."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from maskline_client.bench.images import load_images
from maskline_client.images import FORMATS
from support.data.image_files import FOREIGN, encoded, picture


@pytest.mark.parametrize("image_format", FORMATS)
def test_a_file_is_kept_as_it_is(tmp_path: Path, image_format: str) -> None:
    data = encoded(picture(37, 53), image_format)
    (tmp_path / "picture.jpg").write_bytes(data)
    (image,) = load_images(tmp_path)
    assert (image.name, image.data, image.height, image.width) == ("picture.jpg", data, 37, 53)


@pytest.mark.parametrize("image_format", FOREIGN)
def test_a_file_of_another_format_is_refused_whatever_its_name(tmp_path: Path, image_format: str) -> None:
    path = tmp_path / "picture.jpg"
    path.write_bytes(FOREIGN[image_format])
    refused = rf"--images: {re.escape(str(path))}: got a file that begins with .*, expected JPEG, PNG or WebP; convert"
    with pytest.raises(ValueError, match=refused) as caught:
        load_images(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_broken_header_is_named(tmp_path: Path) -> None:
    (tmp_path / "picture.png").write_bytes(encoded(picture(), "PNG")[:20])
    with pytest.raises(ValueError, match=r"picture.png is not a readable image \(.*take it out of the folder"):
        load_images(tmp_path)
