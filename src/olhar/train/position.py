"""The part of a training's state that is not a tensor."""

from dataclasses import dataclass


@dataclass
class Position:
    """Where the training is: all of it that is not a tensor."""

    step: int = 0  # optimizer steps done
    epoch: int = 0  # passes begun
    batch: int = 0  # batches of this epoch done
    seconds: float = 0.0  # of training so far, over all sessions
    evaluations: int = 0  # done
    best: float | None = None  # best value of the watched metric
    best_loss: float = 0.0  # the validation loss that came with it: of two equal values the surer one is kept
    best_step: int = 0
    best_epoch: float = 0.0
    stale: int = 0  # evaluations since the best
    log_bytes: int = 0  # length of metrics.jsonl at this moment: later lines belong to steps that will be redone

    def passes(self, batches: int) -> float:
        """Passes over the data so far, where one has so many batches."""
        return self.epoch + self.batch / batches
