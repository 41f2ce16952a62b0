"""The panels of the report, in their order on the page. A new one is one function and one line below."""

from collections.abc import Callable

from olhar.report.panels.alignment import matrix_panel, recall_panel, retrieval_panel
from olhar.report.panels.calibration import calibration_panel
from olhar.report.panels.classes import classes_panel, labels_panel
from olhar.report.panels.confusion import confusion_panel
from olhar.report.panels.curves import curves_panel
from olhar.report.panels.data import data_panel
from olhar.report.panels.detection import (
    boxes_panel,
    found_panel,
    kinds_panel,
    precision_recall_panel,
    worst_boxes_panel,
)
from olhar.report.panels.drawing import grown_panel, levels_panel, near_panel, reverse_panel, samples_panel
from olhar.report.panels.headline import headline_panel
from olhar.report.panels.inside import inside_panel
from olhar.report.panels.latent import latent_panel
from olhar.report.panels.messages import messages_panel
from olhar.report.panels.network import network_panel
from olhar.report.panels.pictures import examples_panel, mistakes_panel
from olhar.report.panels.reconstruction import psnr_panel, restored_panel, worst_restored_panel
from olhar.report.panels.regression import errors_panel, regression_panel
from olhar.report.panels.reproduce import reproduce_panel
from olhar.report.panels.segmentation import masks_panel, pixels_panel, worst_masks_panel
from olhar.report.story import Panel, Story

# A panel that has nothing to say of a run returns None.
PANELS: tuple[Callable[[Story], Panel | None], ...] = (
    headline_panel,
    messages_panel,
    data_panel,
    curves_panel,
    confusion_panel,
    classes_panel,
    labels_panel,
    regression_panel,
    pixels_panel,
    found_panel,
    precision_recall_panel,
    kinds_panel,
    psnr_panel,
    recall_panel,
    matrix_panel,
    retrieval_panel,
    mistakes_panel,
    errors_panel,
    worst_masks_panel,
    worst_boxes_panel,
    worst_restored_panel,
    examples_panel,
    masks_panel,
    boxes_panel,
    restored_panel,
    samples_panel,
    grown_panel,
    levels_panel,
    reverse_panel,
    near_panel,
    latent_panel,
    calibration_panel,
    inside_panel,
    network_panel,
    reproduce_panel,
)
