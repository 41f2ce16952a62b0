"""The instruments by name, in the order in which they are listed. A new one is one file here and one line below."""

from olhar.inspection.instrument import Instrument
from olhar.inspection.instruments.landscape import LANDSCAPE
from olhar.inspection.instruments.network import NETWORK
from olhar.inspection.instruments.patches import PATCHES
from olhar.inspection.instruments.receptive_field import RECEPTIVE_FIELD
from olhar.inspection.instruments.why import WHY

INSTRUMENTS: dict[str, Instrument] = {
    "network": NETWORK,
    "receptive-field": RECEPTIVE_FIELD,
    "patches": PATCHES,
    "why": WHY,
    "landscape": LANDSCAPE,
}
