"""The report: one HTML file that opens offline, on a phone, a projector and paper. No script, no network."""

from pathlib import Path

from markupsafe import Markup

from olhar.inspection.network import NetworkTable
from olhar.report.panels import PANELS
from olhar.report.parts import style, templates
from olhar.report.story import Drawings, Images, LatentView, MatchView, Samples, read_story

EYE = Markup(
    '<svg viewBox="0 0 40 24" aria-hidden="true">'
    '<path d="M2 12C9 3 15 1.5 20 1.5S31 3 38 12C31 21 25 22.5 20 22.5S9 21 2 12Z" '
    'fill="none" stroke="currentColor" stroke-width="2.6"/><circle cx="20" cy="12" r="6.4" fill="currentColor"/>'
    '<circle cx="22.4" cy="9.6" r="2" fill="#fff"/></svg>'
)
ICON = str(EYE).replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" color="#1d5fa6" ')


def write_report(
    run: Path,
    *,
    images: Images,
    network: NetworkTable | None,
    latent: LatentView | None = None,
    drawings: Drawings | None = None,
    match: MatchView | None = None,
    samples: Samples | None = None,
) -> Path:
    """Write `report.html` into a run folder and return its path.

    Args:
        run: a run folder; all but its run.json may be missing, and its panels are then left out.
        images: ids of images -> their pixels, uint8 [C, H, W], or None where a file is gone.
        network: of the model, for one image of the size it was trained on.
        latent: of an autoencoder, ways between images and a map.
        drawings: what instruments draw, asked when their panel is made.
        match: of images and captions, how similar each is to each.
        samples: of a run that learnt to draw, what it drew.
    Raises:
        UserError: `run` is not a run folder, or a file in it is damaged.
    """
    story = read_story(run, images, network, latent, drawings, match, samples)
    page = (
        templates()
        .get_template("page.html")
        .render(
            title=f"{run.name} · olhar",
            version=story.get("olhar", ""),
            run=run.name,
            eye=EYE,
            icon=ICON,
            style=Markup(style()),
            panels=[panel for make in PANELS if (panel := make(story))],
        )
    )
    path = run / "report.html"
    path.write_text(page, encoding="utf-8")
    return path
