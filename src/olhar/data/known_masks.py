"""Sets whose masks come without the names of their classes: what their authors call them.

CamVid: G. Brostow, J. Fauqueur and R. Cipolla, "Semantic object classes in video", 2009, in colours; and in numbers
the twelve of V. Badrinarayanan, A. Kendall and R. Cipolla, "SegNet", 2017. Pascal VOC: M. Everingham et al., "The
Pascal visual object classes challenge", 2010. Oxford-IIIT Pet: O. Parkhi et al., "Cats and dogs", 2012.
"""

import re
from collections.abc import Collection as Values
from collections.abc import Sequence

from olhar.data.class_list import Entry
from olhar.data.sample import Colour

VOC = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
CAMVID = (
    *("sky", "building", "pole", "road", "pavement", "tree", "sign_symbol", "fence", "car", "pedestrian", "bicyclist"),
    "unlabelled",
)
CAMVID_COLOURS: dict[str, Colour] = {
    "Animal": (64, 128, 64),
    "Archway": (192, 0, 128),
    "Bicyclist": (0, 128, 192),
    "Bridge": (0, 128, 64),
    "Building": (128, 0, 0),
    "Car": (64, 0, 128),
    "CartLuggagePram": (64, 0, 192),
    "Child": (192, 128, 64),
    "Column_Pole": (192, 192, 128),
    "Fence": (64, 64, 128),
    "LaneMkgsDriv": (128, 0, 192),
    "LaneMkgsNonDriv": (192, 0, 64),
    "Misc_Text": (128, 128, 64),
    "MotorcycleScooter": (192, 0, 192),
    "OtherMoving": (128, 64, 64),
    "ParkingBlock": (64, 192, 128),
    "Pedestrian": (64, 64, 0),
    "Road": (128, 64, 128),
    "RoadShoulder": (128, 128, 192),
    "Sidewalk": (0, 0, 192),
    "SignSymbol": (192, 128, 128),
    "Sky": (128, 128, 128),
    "SUVPickupTruck": (64, 128, 192),
    "TrafficCone": (0, 0, 64),
    "TrafficLight": (0, 64, 64),
    "Train": (192, 64, 128),
    "Tree": (128, 128, 0),
    "Truck_Bus": (192, 128, 192),
    "Tunnel": (64, 0, 64),
    "VegetationMisc": (192, 192, 0),
    "Void": (0, 0, 0),
    "Wall": (64, 192, 0),
}
PET = {1: "pet", 2: "background", 3: "not classified"}

CAMVID_FRAME = re.compile(r"(0001TP|0006R0|0016E5|Seq05VD)_\w+")
VOC_IMAGE = re.compile(r"20(0[7-9]|1[0-2])_\d{6}")
PET_IMAGE = re.compile(r"[A-Za-z]+(_[A-Za-z]+)*_\d+")


def known_names(
    stems: Sequence[str], folder: str, values: Values[int], colours: bool
) -> tuple[str, list[Entry]] | None:
    """The set that images of these names and masks in this folder are from, and its classes; None for all others."""
    if all(CAMVID_FRAME.fullmatch(stem) for stem in stems):
        if colours:
            return "CamVid", [Entry(name, colour=colour) for name, colour in CAMVID_COLOURS.items()]
        if max(values) < len(CAMVID):
            return "CamVid", [Entry(name, value) for value, name in enumerate(CAMVID)]
    if colours:
        return None
    if all(VOC_IMAGE.fullmatch(stem) for stem in stems) and not {*values} - {*range(len(VOC)), 255}:
        return "Pascal VOC", [Entry(name, value) for value, name in enumerate(VOC)]
    in_trimaps = "trimaps" in folder.lower().split("/")
    if in_trimaps and not {*values} - {*PET} and all(PET_IMAGE.fullmatch(stem) for stem in stems):
        return "Oxford-IIIT Pet", [Entry(name, value) for value, name in PET.items()]
    return None
