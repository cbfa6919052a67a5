"""What a picture takes while it is decoded, in training, client and server: little more than its own pixels."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

SIDES = (4000, 3000)
BYTES_A_PIXEL = 11  # Pillow's picture of 4, the answer's of 3 or 4, and a quarter of that for the rest
DECODE = """
import sys
from pathlib import Path
from maskline_client.images import decode_rgb
from maskline_train.data.images import decode_image
from support.serving.model_files import load
served = load("models/preprocess/1/images.py")
decoders = [decode_image, decode_rgb, lambda data: served.load_rgb(data, served.Limits(1 << 25, 10**8, 20_000))]
def peak():
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) * 1024
data = Path(sys.argv[1]).read_bytes()
before = peak()
for decode in decoders:
    decode(data)
print(peak() - before)
"""


@pytest.mark.parametrize("mode", ["I;16", "RGBA", "P", "RGB"])
def test_no_copy_in_a_wide_type_is_made(mode: str, tmp_path: Path) -> None:
    """16-bit gray took 26 bytes a pixel in training (1.2 GiB for 50 megapixels) and 19 in the client."""
    options = {"transparency": 1} if mode == "P" else {}
    data = io.BytesIO()
    Image.new(mode, SIDES).save(data, "PNG", **options)
    (tmp_path / "picture.png").write_bytes(data.getvalue())
    code = f"import sys; sys.path.insert(0, {str(Path(__file__).parents[1])!r})\n{DECODE}"
    command = [sys.executable, "-c", code, str(tmp_path / "picture.png")]
    used = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert used < SIDES[0] * SIDES[1] * BYTES_A_PIXEL
