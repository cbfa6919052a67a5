"""COCO's 80 categories of things: their ids and names. Ref: https://cocodataset.org, annotations of 2014 and 2017."""

_NAMES = """
person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light, fire hydrant, stop sign,
parking meter, bench, bird, cat, dog, horse, sheep, cow, elephant, bear, zebra, giraffe, backpack, umbrella, handbag,
tie, suitcase, frisbee, skis, snowboard, sports ball, kite, baseball bat, baseball glove, skateboard, surfboard,
tennis racket, bottle, wine glass, cup, fork, knife, spoon, bowl, banana, apple, sandwich, orange, broccoli, carrot,
hot dog, pizza, donut, cake, chair, couch, potted plant, bed, dining table, toilet, tv, laptop, mouse, remote, keyboard,
cell phone, microwave, oven, toaster, sink, refrigerator, book, clock, vase, scissors, teddy bear, hair drier,
toothbrush
"""
_LAST_ID = 90
_UNUSED_IDS = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)

NAMES = tuple(name.strip() for name in _NAMES.replace("\n", " ").split(","))
IDS = tuple(number for number in range(1, _LAST_ID + 1) if number not in _UNUSED_IDS)
# One name an id, for networks that have a row for the unused ones too, as torchvision's.
NAMES_BY_ID = tuple(
    NAMES[IDS.index(number)] if number in IDS else f"unused id {number}" for number in range(1, _LAST_ID + 1)
)
