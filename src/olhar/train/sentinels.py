"""Plain words for what goes wrong while a model trains: the likely cause, and what to try.

Each sentinel looks at the numbers of the log and speaks once.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

Report = Callable[[str, str], None]

ENOUGH = 200  # steps after which a model that can learn has begun to: to tell 128 captions apart took some 60


@dataclass
class Sentinels:
    """Args:
    chance: the loss, in nats, of a model that has learnt nothing (ln K for K classes); None where unknown.
    say: called with a sentinel's name and its sentence.
    """

    chance: float | None
    say: Report
    spoken: set[str] = field(default_factory=set)
    losses: list[float] = field(default_factory=list)
    validation: list[float] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)

    def train(self, progress: float, step: int, loss: float, wait: float) -> None:
        """After each line of the training log: mean loss, and the share of the time spent waiting for data."""
        self.losses.append(loss)
        self.waits.append(wait)
        recent = self.losses[-5:]
        late = (progress > 0.25 and step >= ENOUGH) or progress > 0.8
        # 3% below chance is less than a model gets from the class frequencies of most data
        if self.chance is not None and late and len(self.losses) >= 10 and min(recent) > 0.97 * self.chance:
            cause = (
                "Likely a learning rate far too high or too low, or labels that do not belong to the images. Try "
                "--optim.lr ten times smaller, and `olhar check`."
                if step >= ENOUGH
                else f"Likely it had too little time, {step} steps: give more --epochs, or a longer --budget."
            )
            self._speak(
                "stuck",
                f"The loss stays at {sum(recent) / len(recent):.3f}, what guessing gives ({self.chance:.3f} nats): "
                f"the model learns nothing. {cause}",
            )
        # the first line includes the decoding of every image, which later epochs take from the cache
        if len(self.waits) >= 6 and sum(self.waits[-5:]) / 5 > 0.3:
            self._speak(
                "starving",
                f"The model waits for images {100 * sum(self.waits[-5:]) / 5:.0f}% of the time. Likely a slow disk or "
                "images much larger than the model sees. Try more --data.workers, or a larger --data.cache-share.",
            )

    def evaluated(self, train_loss: float, validation_loss: float) -> None:
        """After each evaluation."""
        self.validation.append(validation_loss)
        best = min(self.validation)
        since = len(self.validation) - 1 - self.validation.index(best)
        # three evaluations without a better one, well above the best, while training goes on falling
        if since >= 3 and validation_loss > 1.1 * best + 0.02 and train_loss < 0.7 * validation_loss:
            self._speak(
                "overfitting",
                f"Training is far ahead of validation (loss {train_loss:.3f} against {validation_loss:.3f}, which was "
                f"{best:.3f} at its best): the model is learning the training images by heart. The best weights are "
                "kept. Try more images, a stronger --data.augment or --optim.weight-decay, a smaller model or fewer "
                "epochs.",
            )

    def _speak(self, name: str, sentence: str) -> None:
        if name not in self.spoken:
            self.spoken.add(name)
            self.say(name, sentence)


def not_finite(step: int, files: list[str]) -> str:
    """The sentence with which training stops when the loss is no longer a number."""
    shown = ", ".join(files[:4]) + (f" and {len(files) - 4} more" if len(files) > 4 else "")
    return (
        f"The loss is not finite at step {step} (images {shown}). Likely the learning rate is too high, a target is "
        "not a number, or half precision overflowed. Try --optim.lr ten times smaller, or --train.precision fp32. "
        "The last checkpoint and the best weights are kept."
    )
