"""What the numbers of a detector's classes stand for."""

from __future__ import annotations

_COCO = (
    "person,bicycle,car,motorcycle,airplane,bus,train,truck,boat,traffic light,fire hydrant,stop sign,"
    "parking meter,bench,bird,cat,dog,horse,sheep,cow,elephant,bear,zebra,giraffe,backpack,umbrella,handbag,tie,"
    "suitcase,frisbee,skis,snowboard,sports ball,kite,baseball bat,baseball glove,skateboard,surfboard,"
    "tennis racket,bottle,wine glass,cup,fork,knife,spoon,bowl,banana,apple,sandwich,orange,broccoli,carrot,"
    "hot dog,pizza,donut,cake,chair,couch,potted plant,bed,dining table,toilet,tv,laptop,mouse,remote,keyboard,"
    "cell phone,microwave,oven,toaster,sink,refrigerator,book,clock,vase,scissors,teddy bear,hair drier,toothbrush"
)
COCO = tuple(_COCO.split(","))
# COCO's own numbering goes to 90 and leaves these out: the classes that were never labelled.
_NEVER_LABELLED = frozenset({0, 12, 26, 29, 30, 45, 66, 68, 69, 71, 83})


def _coco_91() -> tuple[str, ...]:
    names = iter(COCO)
    return tuple("" if number in _NEVER_LABELLED else next(names) for number in range(91))


COCO_91 = _coco_91()
FACES = ("face",)


def class_names(count: int) -> tuple[str, ...]:
    """The names of so many classes: COCO's where the number of them gives it away, else their numbers."""
    known = {len(COCO): COCO, len(COCO_91): COCO_91}
    return known.get(count) or tuple(map(str, range(count)))
