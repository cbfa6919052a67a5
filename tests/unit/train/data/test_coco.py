"""The COCO reader: right answers for odd but lawful files, one clear line for broken ones."""

import pickle

import numpy as np
import pytest
import reference
from maskline_coco.segmentation import decode_counts, parse_segmentation, rasterise
from maskline_train.data.coco import CocoDataset
from maskline_train.data.errors import DataError, ImageError
from maskline_train.data.packed import PackedList
from PIL import Image
from pycocotools import mask as coco_mask
from support.data.coco_files import HEIGHT, WIDTH, annotation, square, write


def test_images_come_in_id_order_and_categories_with_gaps_become_classes(tmp_path):
    write(tmp_path)
    dataset = CocoDataset(tmp_path, "train")
    assert dataset.image_ids == (10, 20)
    assert [record.file_name for record in dataset] == ["a.png", "b.png"]
    assert dataset.classes == ("cat", "dog")
    assert dataset.category_ids == (3, 90)
    assert dataset.usable == (True, False)  # b.png is empty, which is no mistake
    assert dataset.image(0)[0, 0].tolist() == [10, 90, 0]
    objects = dataset.objects(0)
    assert objects.labels.tolist() == [0, 1]
    assert objects.boxes.tolist() == [[4, 5, 10, 11]] * 2
    assert objects.masks[0, 5:11, 4:10].all()
    assert objects.masks[0].sum() == 36
    empty = dataset.objects(1)
    assert empty.boxes.shape == (0, 4)
    assert empty.masks.shape == (0, HEIGHT, WIDTH)
    dataset.check_headers()
    assert dataset.describe() == "train: 2 images (1 with usable objects), 2 annotations"


def test_what_training_leaves_out_is_counted_and_kept_for_evaluation(tmp_path):
    crowd = {"size": [HEIGHT, WIDTH], "counts": [40, 60, HEIGHT * WIDTH - 100]}
    write(
        tmp_path,
        annotations=[
            annotation(1, iscrowd=1, segmentation=crowd),
            annotation(2, bbox=[4, 5, 0, 6]),  # no width
            annotation(3, bbox=[4, 5, 6, -1]),  # negative height
            annotation(4, bbox=[40, 5, 6, 6], segmentation=square(40, 5, 6)),  # right of the image
            annotation(5, segmentation=[]),
            annotation(6, segmentation=[[1, 2, 3, 4]]),  # a line
            annotation(7, bbox=[26, 16, 6, 6], segmentation=square(26, 16, 6)),  # across the corner: clipped
        ],
    )
    dataset = CocoDataset(tmp_path, "train")
    assert dataset.unused == {
        "crowd regions": 1,
        "with a box without area": 2,
        "outside their image": 1,
        "without a segmentation": 1,
        "with polygons of less than 3 points": 1,
    }
    assert "2 with a box without area" in dataset.describe()
    objects = dataset.objects(0)
    assert objects.boxes.tolist() == [[26, 16, 30, 20]]
    assert objects.masks[0].sum() == 16
    coco = dataset.coco_api()
    assert [found["bbox"] for found in coco.dataset["annotations"]] == [
        [4, 5, 6, 6],
        [4, 5, 0, 6],
        [4, 5, 6, -1],
        [40, 5, 6, 6],
        [26, 16, 6, 6],
    ]
    assert coco.anns[1]["iscrowd"] == 1
    assert coco.annToMask(coco.anns[1]).sum() == 60


def test_the_coco_api_is_quiet_fills_in_what_is_missing_and_evaluates(tmp_path, capsys):
    bare = annotation(1)
    del bare["area"], bare["iscrowd"]
    write(tmp_path, annotations=[bare])
    from pycocotools.cocoeval import COCOeval

    coco = CocoDataset(tmp_path, "train").coco_api()
    assert capsys.readouterr().out == ""
    assert coco.anns[1]["area"] == 36
    assert coco.anns[1]["category_id"] == 3
    results = coco.loadRes([{"image_id": 10, "category_id": 3, "score": 1.0, "segmentation": rle_of_square()}])
    evaluation = COCOeval(coco, results, "segm")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    assert evaluation.stats[0] == pytest.approx(1.0)


def rle_of_square() -> dict:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[5:11, 4:10] = 1
    rle = coco_mask.encode(np.asfortranarray(mask))
    return {"size": rle["size"], "counts": rle["counts"].decode()}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"annotations": [annotation(1), annotation(1)]}, ["annotations[1] (id 1)", "twice"]),
        ({"images": [{"id": 1, "file_name": "a.png", "height": 20, "width": 30}] * 2}, ["image id 1", "twice"]),
        ({"categories": [{"id": 3, "name": "cat"}] * 2}, ["category id 3", "twice"]),
        ({"categories": [{"id": 3, "name": "cat"}, {"id": 4, "name": "cat"}]}, ["'cat'", "twice"]),
        ({"categories": []}, ["no category"]),
        ({"categories": [{"id": 3, "name": "a\nb"}]}, ["one line of text"]),
        ({"images": []}, ["no image"]),
        ({"annotations": [annotation(7, category_id=5)]}, ["(id 7)", "unknown category_id 5", "one of 3, 90"]),
        ({"annotations": [annotation(7, image_id=5)]}, ["(id 7)", "image_id 5"]),
        ({"annotations": [annotation(7, bbox=[1, 2, 3])]}, ["bbox [1, 2, 3]", "[x, y, width, height]"]),
        ({"annotations": [annotation(7, bbox=[1, 2, 3, float("nan")])]}, ["bbox"]),
        ({"annotations": [annotation(7, iscrowd=2)]}, ["iscrowd 2"]),
        ({"annotations": [annotation(7, area="big")]}, ["area 'big'"]),
        ({"annotations": [annotation(7, segmentation="x")]}, ["(id 7)", "str"]),
        ({"annotations": [annotation(7, segmentation=[[1, 2, 3]])]}, ["3 numbers", "pairs"]),
        ({"annotations": [annotation(7, segmentation=[1, 2, 3, 4])]}, ["int as a polygon"]),
        ({"annotations": [{"id": 1}]}, ["no 'image_id'"]),
        ({"annotations": [5]}, ["annotations[0]", "an object"]),
        ({"images": [{"id": 1, "file_name": "../x.png", "height": 20, "width": 30}]}, ["inside the image folder"]),
        ({"images": [{"id": 1, "file_name": "a.png", "height": 0, "width": 30}]}, ["height 0", "at least 1"]),
        ({"annotations": {}}, ["no list 'annotations'"]),
    ],
)
def test_a_mistake_in_the_json_is_one_line_with_file_and_place(tmp_path, changes, words):
    file = write(tmp_path, **changes)
    with pytest.raises(DataError) as caught:
        CocoDataset(tmp_path, "train")
    text = str(caught.value)
    assert str(file) in text
    assert "\n" not in text
    for word in words:
        assert word in text


@pytest.mark.parametrize(
    ("counts", "size", "words"),
    [
        ([40, 60], [HEIGHT, WIDTH], "runs of 100 pixels, expected 600"),
        ([700], [HEIGHT, WIDTH], "runs of 700"),
        ([700, -100], [HEIGHT, WIDTH], "negative"),
        ([600.0], [HEIGHT, WIDTH], "fractional"),
        ([600], [WIDTH, HEIGHT], "size"),
        (None, [HEIGHT, WIDTH], "NoneType"),
        ("o", [HEIGHT, WIDTH], "stops inside a number"),
        ("~", [HEIGHT, WIDTH], "character"),
    ],
)
def test_broken_rle_is_refused_before_pycocotools_sees_it(counts, size, words):
    with pytest.raises(ValueError, match=words):
        parse_segmentation({"size": size, "counts": counts}, HEIGHT, WIDTH)


def test_a_truncated_or_foreign_json_says_what_to_do(tmp_path):
    file = write(tmp_path)
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="copy or download it again"):
        CocoDataset(tmp_path, "train")
    file.write_text("[]")
    with pytest.raises(DataError, match="expected an object"):
        CocoDataset(tmp_path, "train")


def test_missing_folders_and_files(tmp_path):
    with pytest.raises(DataError, match="splits with annotations there: none"):
        CocoDataset(tmp_path, "train")
    write(tmp_path)
    with pytest.raises(DataError, match="splits with annotations there: train"):
        CocoDataset(tmp_path, "val")
    (tmp_path / "train" / "b.png").unlink()
    with pytest.raises(DataError, match=r"b\.png: no such image \(id 20\); 1 of 2 images are missing"):
        CocoDataset(tmp_path, "train")


def test_images_that_differ_from_the_json_are_found_up_front(tmp_path):
    write(tmp_path)
    dataset = CocoDataset(tmp_path, "train")
    Image.new("RGB", (HEIGHT, WIDTH)).save(tmp_path / "train" / "a.png")  # sides swapped
    (tmp_path / "train" / "b.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"a\.png: got 20x30 .* expected 30x20 .*\(2 of 2 images"):
        dataset.check_headers()
    with pytest.raises(ImageError, match="expected 30x20"):
        dataset.image(0)
    with pytest.raises(ImageError, match=r"b\.png: cannot be decoded"):
        dataset.image(1)


def test_the_size_check_knows_exif(tmp_path):
    write(tmp_path)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (HEIGHT, WIDTH)).save(tmp_path / "train" / "a.png", exif=exif)  # upright it is 30 wide, 20 high
    dataset = CocoDataset(tmp_path, "train")
    dataset.check_headers()
    assert dataset.image(0).shape == (HEIGHT, WIDTH, 3)


@pytest.mark.parametrize("seed", range(5))
def test_all_three_kinds_of_segmentation_give_the_same_pixels(seed):
    rng = np.random.default_rng(seed)
    mask = (rng.random((13, 17)) < rng.random()).astype(np.uint8)
    counts = reference.encode_rle(mask)
    text = coco_mask.encode(np.asfortranarray(mask))["counts"].decode()
    assert decode_counts(text) == counts
    plain = {"size": [13, 17], "counts": counts}
    packed = {"size": [13, 17], "counts": text}
    for rle in (plain, packed):
        parsed, unused = parse_segmentation(rle, 13, 17)
        assert unused == ""
        assert np.array_equal(rasterise(parsed, 13, 17), mask)
    assert np.array_equal(rasterise([], 13, 17), np.zeros((13, 17)))
    assert rasterise(square(2, 3, 4), 13, 17)[3:7, 2:6].all()


def test_long_runs_survive_the_count_decoder():
    mask = np.zeros((400, 500), np.uint8)
    mask[100:300, 37:411] = 1
    text = coco_mask.encode(np.asfortranarray(mask))["counts"].decode()
    counts = decode_counts(text)
    assert sum(counts) == mask.size
    assert sum(counts[1::2]) == mask.sum()


def test_a_packed_list_is_a_list_and_travels_to_workers():
    items = ["a", ("b", 2), {"c": [3]}]
    packed = pickle.loads(pickle.dumps(PackedList(items)))
    assert len(packed) == 3
    assert [packed[i] for i in range(3)] == items
    assert packed[-1] == items[-1]
    with pytest.raises(IndexError):
        packed[3]
    assert len(PackedList([])) == 0
