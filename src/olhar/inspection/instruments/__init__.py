"""The instruments by name, in the order in which they are listed. A new one is one file here and one line below."""

from olhar.inspection.instrument import Instrument
from olhar.inspection.instruments.attention import ATTENTION
from olhar.inspection.instruments.detection import ANCHORS, ASSIGNMENT, OBJECTNESS, SUPPRESSION
from olhar.inspection.instruments.feature_maps import FEATURE_MAPS
from olhar.inspection.instruments.gradients import GRADIENTS
from olhar.inspection.instruments.landscape import LANDSCAPE
from olhar.inspection.instruments.network import NETWORK
from olhar.inspection.instruments.patches import PATCHES
from olhar.inspection.instruments.receptive_field import RECEPTIVE_FIELD
from olhar.inspection.instruments.representation import REPRESENTATION
from olhar.inspection.instruments.why import WHY
from olhar.inspection.instruments.words import WORDS

INSTRUMENTS: dict[str, Instrument] = {
    "network": NETWORK,
    "receptive-field": RECEPTIVE_FIELD,
    "feature-maps": FEATURE_MAPS,
    "patches": PATCHES,
    "why": WHY,
    "representation": REPRESENTATION,
    "gradients": GRADIENTS,
    "landscape": LANDSCAPE,
    "attention": ATTENTION,
    "words": WORDS,
    "anchors": ANCHORS,
    "assignment": ASSIGNMENT,
    "objectness": OBJECTNESS,
    "suppression": SUPPRESSION,
}
