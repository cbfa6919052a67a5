"""Decoding in processes of their own: the same answers, whatever a file does to the process that reads it."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.data import image_files
from unit.serve.decoder import pools
from unit.serve.decoder.pools import PARAMETERS, images, is_gone, messages, resizing, signal_over_a_file, wait_until

XMP = {f"{name} turned by XMP": image_files.turned_by_xmp(name) for name in ("JPEG", "PNG", "WEBP")}
GOOD = image_files.good_files() | XMP
PLAIN = GOOD["jpeg"]


@pytest.fixture(scope="module")
def decoders() -> Iterator[Any]:
    """Two processes at most, for tests that end none."""
    found = pools.pool.DecoderPool(2, PARAMETERS, pytest.fail)
    yield found
    found.close()


@pytest.fixture
def own() -> Iterator[Any]:
    """A pool to hurt, of one process; what it said is in `own.lines`."""
    lines: list[str] = []
    found = pools.pool.DecoderPool(1, PARAMETERS, lines.append)
    found.lines = lines
    yield found
    found.close()


def here(file: bytes) -> tuple[Any, Any]:
    """The answer of this process."""
    resize, _ = pools.filters.choose("pillow")
    return images.prepare(file, images.geometry_of(PARAMETERS), images.limits_of(PARAMETERS), resize)


def assert_same(found: tuple[Any, Any], expected: tuple[Any, Any]) -> None:
    np.testing.assert_array_equal(found[0], expected[0])
    assert found[1] == expected[1]


@pytest.mark.parametrize("name", GOOD)
def test_every_kind_of_file_has_the_same_answer(decoders: Any, name: str) -> None:
    assert_same(decoders.decode(GOOD[name]), here(GOOD[name]))


@pytest.mark.parametrize("name", XMP)
def test_xmp_turns_a_picture(decoders: Any, name: str) -> None:
    """Or the files above would not ask for what reads it."""
    assert decoders.decode(XMP[name])[1] == (53, 37)


def damaged(name: str, seed: int) -> bytes:
    rng = np.random.default_rng(seed)
    data = bytearray(GOOD[name])
    for position in rng.integers(0, len(data), 8):
        data[position] = rng.integers(0, 256)
    return bytes(data)


REFUSED = [
    *image_files.FOREIGN.values(),
    b"",
    b"text",
    bytes(9 << 20),
    PLAIN[:300],
    GOOD["png"][:600],
    *(damaged(name, seed) for name in GOOD for seed in range(3)),
]


def outcome(decode: Callable[[bytes], tuple[Any, Any]], file: bytes) -> tuple[Any, ...]:
    """The picture's bytes and sizes, or the refusal; an object's address, which Pillow's texts have, is left out."""
    try:
        picture, original = decode(file)
    except images.InvalidImageError as error:
        return (str(error).partition(" at 0x")[0],)
    return picture.tobytes(), picture.shape, original


def test_what_is_refused_or_damaged_has_the_same_answer(decoders: Any) -> None:
    """Decoded or refused by the same text: no module of Pillow is missing where files are decoded, for example."""
    expected = [outcome(here, file) for file in REFUSED]
    assert [outcome(decoders.decode, file) for file in REFUSED] == expected
    assert sum(len(each) == 1 for each in expected) > 20  # or nothing was compared


def test_large_pictures_of_several_threads_go_to_their_own_callers(decoders: Any) -> None:
    files = [
        image_files.encoded(Image.new("RGB", (1500, 1000), (n, n, n)), "JPEG", quality=100) for n in range(0, 96, 8)
    ]
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(decoders.decode, files))
    for file, answer in zip(files, found, strict=True):
        assert_same(answer, here(file))
    assert len(decoders._waiting) <= 2


@pytest.mark.parametrize(
    ("number", "name"), [(signal.SIGSEGV, "SIGSEGV"), (signal.SIGABRT, "SIGABRT"), (signal.SIGTERM, "SIGTERM")]
)
def test_a_file_that_ends_its_process_is_refused_alone(own: Any, number: int, name: str) -> None:
    hurt = own._waiting[-1]
    own._waiting.clear()
    found = signal_over_a_file(hurt, PLAIN, number, signal.SIGCONT)
    assert isinstance(found, images.InvalidImageError)
    assert f"got {len(PLAIN)} bytes that end the process which decodes them ({name})" in str(found)
    assert "save it anew" in str(found)
    own._waiting.append(hurt)
    assert_same(own.decode(PLAIN), here(PLAIN))
    assert own._waiting[-1].pid != hurt.pid


def test_a_process_that_is_killed_is_not_blamed_on_the_file(own: Any) -> None:
    found = signal_over_a_file(own._waiting.pop(), PLAIN, signal.SIGKILL)
    assert isinstance(found, pools.process.DecoderError)
    assert "killed (SIGKILL)" in str(found)
    assert_same(own.decode(PLAIN), here(PLAIN))


def test_one_that_ended_while_it_waited_is_replaced_unnoticed(own: Any) -> None:
    ended = own._waiting[-1].pid
    os.kill(ended, signal.SIGKILL)
    wait_until(lambda: is_gone(ended), "killing a process")
    assert_same(own.decode(PLAIN), here(PLAIN))
    assert own._waiting[-1].pid != ended
    assert own.lines == []  # no file was lost


def test_the_log_says_that_a_process_ended(own: Any) -> None:
    pid = own._waiting[-1].pid
    os.kill(pid, signal.SIGSTOP)
    with ThreadPoolExecutor(1) as thread:
        asked = thread.submit(own.decode, PLAIN)
        wait_until(lambda: not own._waiting, "taking the process")
        time.sleep(0.05)
        os.kill(pid, signal.SIGKILL)
        error = asked.exception(pools.WAIT_S)
    assert own.lines == [f"process {pid}, which decodes, has ended; the next file starts another: {error}"]


def test_a_file_that_takes_too_long_is_refused_and_its_process_ended() -> None:
    own = pools.pool.DecoderPool(1, {**PARAMETERS, "max_decode_seconds": "1"}, lambda line: None)
    try:
        slow = own._waiting.pop()
        found = signal_over_a_file(slow, PLAIN)  # it stays stopped
        assert isinstance(found, images.InvalidImageError)
        assert "take more than 1 s to decode" in str(found)
        assert "max_decode_seconds" in str(found)
        assert is_gone(slow.pid)
    finally:
        own.close()


def test_a_legal_picture_beyond_the_memory_is_refused_and_the_next_decoded() -> None:
    large = image_files.encoded(Image.new("RGB", (6000, 4000)), "JPEG")  # 96 MB in Pillow's four bytes a pixel
    own = pools.pool.DecoderPool(1, {**PARAMETERS, "max_decode_bytes": str(32 << 20)}, pytest.fail)
    try:
        with pytest.raises(images.InvalidImageError, match=r"more than 33554432 bytes of memory .*max_decode_bytes"):
            own.decode(large)
        assert_same(own.decode(PLAIN), here(PLAIN))
    finally:
        own.close()
    assert here(large)[1] == (4000, 6000)


@pytest.mark.parametrize(
    ("size", "original"),
    [((20_000, 20_000), (48, 72)), ((64, 64), (20_000, 20_000)), ((64, 96), (0, 0))],
    ids=["another size", "more than is allowed", "nothing"],
)
def test_a_reply_that_cannot_be_true_is_not_believed(
    own: Any, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], original: tuple[int, int]
) -> None:
    """From a process that a file has taken over."""
    lying = own._waiting.pop()
    forged = messages.Reply(messages.DECODED, size, original)
    monkeypatch.setattr(pools.process.Reply, "unpacked", staticmethod(lambda packet: forged))
    said = f"{size[0]} x {size[1]} pixels of {original[0]} x {original[1]}"
    with pytest.raises(pools.process.DecoderError, match=said):
        lying.decode(PLAIN)
    assert is_gone(lying.pid)


def test_a_process_outlives_the_thread_that_started_it() -> None:
    made: list[Any] = []
    thread = threading.Thread(target=lambda: made.append(pools.process.DecoderProcess(PARAMETERS)))
    thread.start()
    thread.join()
    time.sleep(0.05)
    assert_same(made[0].decode(PLAIN), here(PLAIN))
    made[0].end()
    assert is_gone(made[0].pid)


def test_it_sleeps_while_it_waits(own: Any) -> None:
    """No polling: the number of times it was woken stays."""

    def woken() -> list[str]:
        lines = Path(f"/proc/{own._waiting[-1].pid}/status").read_text().splitlines()
        return [line for line in lines if "ctxt_switches" in line]

    own.decode(PLAIN)
    time.sleep(0.2)
    before = woken()
    time.sleep(0.5)
    assert woken() == before
    own.decode(PLAIN)
    assert woken() != before


PARENT = """
import sys, time
sys.path.insert(0, sys.argv[1])
from support.data import image_files
from unit.serve.decoder import pools
found = pools.process.DecoderProcess(pools.PARAMETERS)
print(found.pid, flush=True)
time.sleep(1000)
"""


def test_nothing_is_left_of_a_parent_that_is_killed() -> None:
    command = [sys.executable, "-c", PARENT, str(Path(__file__).parents[3])]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    pid = int(parent.stdout.readline())
    assert not is_gone(pid)
    parent.kill()
    parent.communicate()
    wait_until(lambda: is_gone(pid), "ending")


def test_nothing_is_left_of_a_parent_that_is_killed_during_a_decode() -> None:
    """The process that decodes does not read its socket then: the kernel ends it by its lifeline."""
    forever = PARENT.replace("time.sleep(1000)", "found.decode(image_files.endless_jpeg(80_000))")
    command = [sys.executable, "-c", forever, str(Path(__file__).parents[3])]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    pid = int(parent.stdout.readline())
    started = time.clock_gettime((~pid << 3) | 2)  # its processor time, <linux/posix-timers.h>
    wait_until(lambda: time.clock_gettime((~pid << 3) | 2) > started + 0.2, "decoding")
    parent.kill()
    parent.communicate()
    wait_until(lambda: is_gone(pid), "ending")  # a tenth of the time that the file takes


@pytest.mark.parametrize("rule", resizing.SIZE_RULES)
@pytest.mark.parametrize(("shorter", "longer"), [(800, 1333), (64, 96), (7, 5), (1, 1)])
def test_the_region_holds_every_resized_picture(rule: str, shorter: int, longer: int) -> None:
    sizes = {"shorter_side_px": str(shorter), "longer_side_px": str(longer), "size_rule": rule, "canvases": ""}
    parameters = {**PARAMETERS, **sizes, "canvas_multiple": "1"}
    geometry, layout = images.geometry_of(parameters), messages.Layout.of(parameters)
    rng = np.random.default_rng(0)
    originals = np.exp(rng.uniform(0, np.log(20_000), (5000, 2))).round().astype(int).tolist()
    largest = max(np.prod(geometry.resized_size(tuple(size))) for size in [*originals, [1, 1], [999, 1000]])
    assert layout.picture_at >= int(parameters["max_image_bytes"])
    assert layout.picture_at + 3 * largest <= layout.size


def test_a_process_that_is_confined_otherwise_than_the_first_is_in_the_log(own: Any) -> None:
    own.said = {**own.said, "refused": ["nothing"]}
    own._waiting.pop().end()
    own.decode(PLAIN)
    assert [line.partition(", is ")[2][:30] for line in own.lines] == ["confined otherwise: refused: ["]


def test_no_interpreter_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/usr/bin/tritonserver")
    monkeypatch.setattr(sys, "base_exec_prefix", "/nowhere")
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(pools.process.DecoderError, match="got no python3"):
        pools.pool.DecoderPool(1, PARAMETERS, pytest.fail)


def test_what_keeps_it_from_starting_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [folder for folder in sys.path if "site-packages" not in folder])
    with pytest.raises(pools.process.DecoderError, match="ModuleNotFoundError: No module named 'numpy'"):
        pools.pool.DecoderPool(1, PARAMETERS, pytest.fail)


def test_an_animation_of_a_large_file_is_read_whole(decoders: Any) -> None:
    """Several megabytes, so that the file lies on many pages of the region."""
    noise = np.random.default_rng(0).integers(0, 256, (1200, 1600, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, "PNG", compress_level=0)
    assert len(file.getvalue()) > 5_000_000
    assert_same(decoders.decode(file.getvalue()), here(file.getvalue()))


def test_neither_side_can_take_memory_away_under_the_other() -> None:
    """A region cut short would end the parent by SIGBUS."""
    region = pools.process._region(1 << 16)
    try:
        for size in (1 << 12, 1 << 20):
            with pytest.raises(PermissionError):
                os.ftruncate(region, size)
    finally:
        os.close(region)
