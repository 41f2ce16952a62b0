"""Equations on a page: TeX that matplotlib sets into outlines, so that they look alike everywhere, without a font."""

import io
import re
from functools import cache

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

SIZE = 12.0  # points that are one em of the page


@cache
def typeset(tex: str) -> Markup:
    r"""An equation as SVG, in the colour and the size of the text around it: typeset(r"x^2")."""
    figure = Figure()
    FigureCanvasSVG(figure)
    buffer = io.StringIO()
    with mpl.rc_context({"mathtext.fontset": "cm", "svg.fonttype": "path"}):
        figure.text(0, 0, f"${tex}$", fontsize=SIZE)
        figure.savefig(buffer, format="svg", bbox_inches="tight", pad_inches=0.02, transparent=True)
    text = buffer.getvalue()
    found = re.search(r'viewBox="([^"]+)"', text)
    assert found
    width = float(found[1].split()[2]) / SIZE
    opening = Markup('<svg class="equation" viewBox="{}" style="width:{:.2f}em" role="img" aria-label="{}">')
    drawn = text[text.index('<g id="text_1">') : text.rindex("</g>\n</svg>")]
    return opening.format(found[1], width, tex) + Markup(f"{drawn}</svg>")
