"""What a training says while it trains: lines that name it, a progress bar, curves, and the seconds a run has left."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

from torch.utils.tensorboard import SummaryWriter
from tqdm.auto import tqdm

from recbole_attack.trainer.tracking import ArmLogger

_TAGS = {"train_loss": "Loss/Train", "learning_rate": "Learning_rate"}
_NOT_DRAWN = ("epoch", "seconds")


class NamedLog(logging.LoggerAdapter):  # type: ignore[type-arg]  # Python 3.10 takes none
    """The log, every line of it with a name in front.

    Args:
        logger: Where the lines go.
        name: What is trained, such as ``attacked`` or ``clean, 1-pre_train``.
    """

    def __init__(self, logger: logging.Logger, name: str) -> None:
        super().__init__(logger, {})
        self.label = name

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        return f"{self.label}, {msg}", kwargs


def cut_off(topk: list[int]) -> int:
    """The measured cut-off nearest to 10, which stands for all of them where there is room for one."""
    return min(topk, key=lambda k: (abs(k - 10), k))


@dataclass
class EpochReport:
    """Reports the epochs of one training, one by one.

    Attributes:
        log: Takes a line for each epoch; ``None`` for none.
        bar: Progress over epochs.
        tensorboard: Takes the curves.
        wandb: W&B's keys of this training.
        part: Whose metrics an epoch's record holds: ``valid`` or ``test``.
        k: Cut-off of the metrics that are shown.
        after: Epochs of the run that follow this training.
    """

    log: NamedLog | None
    bar: Any
    tensorboard: SummaryWriter
    wandb: ArmLogger
    part: str
    k: int
    after: int
    _start: float = field(default_factory=perf_counter)
    _done: int = 0

    def __call__(self, record: Mapping[str, Any], left: int) -> None:
        """Report an epoch.

        Args:
            record: An epoch of the trainer's history.
            left: Epochs of this training that follow it, if it does not stop early.
        """
        self._done += 1
        seconds = (perf_counter() - self._start) / self._done * (left + self.after)
        shown = {key: record[key] for key in ("train_loss", f"hit@{self.k}", f"er@{self.k}") if key in record}
        values = {key.removeprefix("train_"): f"{value:.4f}" for key, value in shown.items()}
        self.bar.set_postfix({**values, "left": f"{seconds:.0f}s"}, refresh=False)
        self.bar.update()
        if self.log:
            text = ", ".join(f"{key}: {value:.4f}" for key, value in shown.items())
            time = f"time: {record['seconds']:.2f}s, run: {seconds:.0f}s left"
            self.log.info(f"epoch {record['epoch']} [{time}, {text}]")
        for key, value in record.items():
            if key not in _NOT_DRAWN:
                self.tensorboard.add_scalar(_TAGS.get(key, f"Eval/{key}"), value, record["epoch"])
        self.wandb.log_epoch(record, self.part)


@contextmanager
def progress_bar(name: str, total: int, initial: int, shown: bool) -> Iterator[Any]:
    """Progress over the epochs of one training, on a terminal or in a notebook only.

    Args:
        name: What is trained.
        total: Its epochs.
        initial: How many it has behind it.
        shown: Whether to show it at all.
    """
    form = "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}, {rate_fmt}{postfix}]"  # the time left is the run's
    shape = {"total": total, "initial": initial, "unit": "epoch", "bar_format": form}
    with tqdm(desc=f"{name:<8}", disable=None if shown else True, **shape) as bar:
        yield bar


def curves_folder(folder: Path, names: tuple[str, ...]) -> Path:
    """Where TensorBoard finds the curves of a training: ``<run>/tensorboard/<arm>``, and the stage if there is one.

    Args:
        folder: Where the training leaves its checkpoints, ``<run>/<arm>`` or ``<run>/<arm>/<stage>``.
        names: Arm, and stage if there is one.
    """
    run = folder.absolute().parents[len(names) - 1]
    return run.joinpath("tensorboard", *names)
