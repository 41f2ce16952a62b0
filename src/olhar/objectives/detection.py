"""Detection (Figure 2.13): 1 + 4 + c numbers an anchor are the parameters of p(object, offsets, classes).

The first is the logit of a Bernoulli (Eq 1.14), "this anchor has an object"; the next four are the mean of a Gaussian
(Eq 1.9) over the offsets of its box; the last c are logits of independent Bernoullis, one a class. Offsets and
classes count only where there is an object.

An image has thousands of anchors and a handful of objects, so the likelihood itself teaches first of all that there is
nothing anywhere. `losses` therefore balances the first part; what it then returns is no likelihood any more, and
neither are smooth L1 and generalised IoU in the place of the Gaussian.

Shapes: N images, A anchors, P anchors with an object, c classes, V = 1 + 4 + c.
"""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import logsigmoid

from olhar.objectives.bernoulli import Bernoulli
from olhar.objectives.gaussian import Gaussian
from olhar.ops.boxes import generalised_iou
from olhar.ops.matching import IGNORED, Targets, decode

Balance = Literal["none", "focal", "hard"]
BoxLoss = Literal["gaussian", "smooth-l1", "giou"]

# σ of the offsets, fixed: about what they spread by where an anchor and its object overlap by half, so that the mean
# is a number of the order of 1 for the network (Liu et al. 2016, arXiv 1512.02325, in their code).
DEVIATION = (0.1, 0.1, 0.2, 0.2)
# Lin et al. 2017, arXiv 1708.02002, Table 1b: the best of theirs.
FOCUS, OBJECT_WEIGHT = 2.0, 0.25
# Liu et al. 2016, section 2.2: as many times more anchors without an object than with one.
HARD_RATIO = 3
# nats of an image without any object count as if it had one: their gradient would else be undefined
FEWEST = 1.0


@dataclass(frozen=True, eq=False)
class Detection:
    """Args:
    outputs: [N, A, V] in the order object, offsets, classes.
    anchors: x0 y0 x1 y1 in pixels.
    """

    outputs: Float[Tensor, "N A V"]
    anchors: Float[Tensor, "A 4"]

    @property
    def object_logits(self) -> Float[Tensor, "N A"]:
        return self.outputs[..., 0].float()

    @property
    def scores(self) -> Float[Tensor, "N A c"]:
        """p(object) p(class | object): how sure it is that there is an object of this class."""
        return torch.sigmoid(self.outputs[..., 5:].float()) * torch.sigmoid(self.object_logits)[..., None]

    def mode(self) -> Float[Tensor, "N A 4"]:
        """The likeliest box of each anchor, in pixels, whether it has an object or not."""
        return decode(self.offsets(self.outputs[..., 1:5].float()), self.anchors)

    def offsets(self, mean: Float[Tensor, "... 4"]) -> Float[Tensor, "... 4"]:
        """What the network says in units of σ, as offsets."""
        return mean * mean.new_tensor(DEVIATION)

    def nll(self, target: Targets) -> Float[Tensor, " N"]:
        """-log p of an image in nats: the sum of its three parts, unbalanced."""
        return torch.stack(list(self.parts(target).values())).sum(0)

    def parts(self, target: Targets) -> dict[str, Float[Tensor, " N"]]:
        """-log p of the object, the offsets and the classes of all anchors of an image, in nats.

        Anchors that are not asked count nowhere, those without an object in the first part only. The density of the
        offsets is that of offsets / σ, without the constant log σ.
        """
        n = len(self.outputs)
        each = {"object": self._object_nll(target).sum(1)}
        mean, wanted, logits = self._answers(target)
        for name, nll in (("offsets", Gaussian(mean).nll(wanted)), ("classes", Bernoulli(logits).nll(target.classes))):
            each[name] = nll.new_zeros(n).index_add(0, target.image, nll)
        return each

    def losses(
        self, target: Targets, balance: Balance = "focal", box_loss: BoxLoss = "gaussian"
    ) -> dict[str, Float[Tensor, ""]]:
        """What is made smaller: object, offsets and classes, each summed over the batch and divided by P.

        Args:
            balance: of the first part. "none": the likelihood. "focal": (1 - p)^2 times it, where p is the probability
                of the truth, and objects a third as much as what has none; "hard": only the 3 P anchors without an
                object of which the network is surest that they have one. The last two are no likelihoods.
            box_loss: "gaussian": squared differences, as in the notes, less the constant of the density. "smooth-l1":
                the same near 0 and straight beyond a deviation, so that outliers pull no harder. "giou": one less the
                generalised IoU of the boxes. The last two are no likelihoods.
        """
        count = max(float(len(target.image)), FEWEST)
        mean, wanted, logits = self._answers(target)
        if box_loss == "gaussian":
            offsets = 0.5 * (mean - wanted).square().sum()
        elif box_loss == "smooth-l1":
            offsets = F.smooth_l1_loss(mean, wanted, reduction="sum")
        else:
            boxes = decode(self.offsets(mean), self.anchors[target.anchor])
            offsets = (1 - generalised_iou(boxes, target.boxes)).sum()
        nll = self._object_nll(target)
        if balance == "focal":
            nll = focal_weight(self.object_logits, target) * nll
        elif balance == "hard":
            nll = hard_negatives(nll, target)
        classes = Bernoulli(logits).nll(target.classes)
        return {"object": nll.sum() / count, "offsets": offsets / count, "classes": classes.sum() / count}

    def _object_nll(self, target: Targets) -> Float[Tensor, "N A"]:
        """-log p(object or none) of each anchor; 0 where nobody is asked."""
        z = self.object_logits
        nll = -logsigmoid(torch.where(target.owner >= 0, z, -z))
        return nll.masked_fill(target.owner == IGNORED, 0)

    def _answers(self, target: Targets) -> tuple[Tensor, Tensor, Tensor]:
        """Of the anchors with an object: the mean and the target of their offsets, in σ, and the logits of classes."""
        chosen = self.outputs[target.image, target.anchor].float()
        return chosen[:, 1:5], target.offsets / chosen.new_tensor(DEVIATION), chosen[:, 5:]


def focal_weight(logits: Float[Tensor, "N A"], target: Targets) -> Float[Tensor, "N A"]:
    """α (1 - p)^γ with p the probability of the truth: what is already known counts little. No likelihood."""
    positive = target.owner >= 0
    wrong = torch.sigmoid(torch.where(positive, -logits, logits))
    return torch.where(positive, OBJECT_WEIGHT, 1 - OBJECT_WEIGHT) * wrong**FOCUS


def hard_negatives(nll: Float[Tensor, "N A"], target: Targets) -> Float[Tensor, "N A"]:
    """The nll of anchors with an object, and of the HARD_RATIO times as many others of the image that are most wrong.

    0 elsewhere. An image without an object keeps HARD_RATIO of its anchors. No likelihood: which anchors count depends
    on the network.
    """
    positive = target.owner >= 0
    others = nll.detach().masked_fill(positive, -1)
    kept = HARD_RATIO * positive.sum(1, keepdim=True).clamp(min=1)
    rank = others.argsort(1, descending=True).argsort(1)
    return nll * (positive | (rank < kept))
