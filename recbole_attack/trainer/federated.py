"""Federated training: rounds of client updates, some of them malicious."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import lru_cache, partial
from math import nan
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch.nn.utils import clip_grad_norm_
from tqdm.auto import tqdm

from recbole_attack.attack import Attack
from recbole_attack.data import Split, TrainData
from recbole_attack.data.sequences import Int
from recbole_attack.defense import Aggregator, configured_aggregator
from recbole_attack.federated import ClientPool, client_pool
from recbole_attack.federated.knowledge import informed
from recbole_attack.federated.loudness import Loudness, measure, medians
from recbole_attack.federated.memory import Memory
from recbole_attack.federated.rounds import BACKENDS
from recbole_attack.federated.server import Aggregated
from recbole_attack.federated.updates import Update
from recbole_attack.threat import Threat
from recbole_attack.trainer.base import AttackTrainer
from recbole_attack.trainer.client_side import ClientSide
from recbole_attack.trainer.client_weights import ClientWeight, client_weights, write_client_weights
from recbole_attack.trainer.computed import Ask, Computed
from recbole_attack.trainer.resuming import check_epochs, check_like
from recbole_attack.trainer.sums import (
    detection_columns,
    detection_summary,
    scored_clients,
    uploads_summary,
    weight_share,
)
from recbole_attack.utils.errors import TrainingError
from recbole_attack.utils.growing_csv import GrowingCSV
from recbole_attack.utils.rng import torch_stream

MANY_CLIENTS = 100_000
"""Up to as many, every client's weight is written unless the configuration says otherwise."""


class FederatedTrainer(AttackTrainer):
    """FedAvg (McMahan et al. 2017) over users as clients, with the configured attack and aggregation.

    In a round, every sampled client sends an update, the server aggregates them and its optimiser
    (``learner``, ``learning_rate``) steps along the result.

    Attributes:
        rounds: One dict per step of the server, for ``rounds.csv``.
        written_rounds: The mark of ``rounds.csv`` up to the last finished epoch.
        client_weights: Who got how much weight in the last epoch, for ``client_weights/``.
        frozen: In how many rounds of the last epoch the aggregation left which parameters as they were.
        detectors: Detectors of malicious clients, and the score each flags from.
        scored: What they said of the clients of all finished epochs, see ``scored_clients``.
        newly_scored: The same of each round of the epoch.
        before: Item rows at the start of the epoch before, for clients that compare; ``None`` until there is one.
        saved: What the rule remembers; ``None`` if that is nothing ever.
    """

    state = (*AttackTrainer.state, "written_rounds")

    def __init__(self, config: Any, model: Any, threat: Threat, split: Split) -> None:
        super().__init__(config, model, threat, split)
        self.client_side = ClientSide(config, model, threat)
        self.aggregator = configured_aggregator(config.final_config_dict)
        self.backend, self.memory = BACKENDS[config["backend"]], Memory()
        self.rounds: list[dict[str, Any]] = []
        self.rounds_file = GrowingCSV(self.resume_file.with_name("rounds.csv"))
        self.written_rounds = self.rounds_file.mark
        self.client_weights: list[ClientWeight] = []
        self.frozen: Counter[str] = Counter()
        self.saves_weights = False
        self.before: torch.Tensor | None = None
        if self.client_side.remembers:
            self.state = (*self.state, "before")
        self.saved = self._nothing_saved()
        if self.saved is not None:
            self.state = (*self.state, "saved")
        self.detectors = dict(sorted(config["client_detectors"].items()))
        self.scored = torch.zeros(1 + len(self.detectors), 0)
        self.newly_scored: list[torch.Tensor] = []
        if self.detectors:
            self.state = (*self.state, "scored")

    @property
    def attack(self) -> Attack | None:
        """What malicious clients do; ``None`` without an attack."""
        return self.client_side.attack

    def clients(self, train_data: TrainData) -> ClientPool:
        """The clients of this run; without an attack nobody is malicious."""
        malicious = self.threat.malicious_users if self.attack else self.threat.malicious_users[:0]
        return client_pool(train_data.trainable_users, malicious, self.threat.clone)

    def fit(self, *args: Any, **kwargs: Any) -> tuple[float, dict[str, float] | None]:
        """Train; see :meth:`AttackTrainer.fit`. Says so where chance left the attack out."""
        found = super().fit(*args, **kwargs)
        if self.attack and not any(row["malicious"] for row in self.rounds):
            self.logger.warning(f"no malicious client was asked in any of {len(self.rounds)} rounds: nothing attacked")
        sent = [row["malicious_norm"] for row in self.rounds if row["malicious_norm"] is not None]
        if sent and not any(sent):
            self.logger.warning("malicious clients sent zeros alone wherever it was measured: nothing attacked")
        alone = sum(1 for row in self.rounds if row["malicious"] and not row["honest"])
        if alone and self.attack and (self.attack.upload or self.config["norm_budget"] is not None):
            text = f"{alone} of {len(self.rounds)} rounds had no honest client: a norm_budget limits nothing there"
            self.logger.warning(f"{text}, and uploads that are made of honest updates are sent as computed")
        return found

    def _train_epoch(
        self, train_data: TrainData, epoch_idx: int, loss_func: Any = None, show_progress: bool = False
    ) -> float:
        """Mean loss of the honest clients in one epoch."""
        self.model.train()
        self.client_weights, self.frozen, self.newly_scored = [], Counter(), []
        pool = self.clients(train_data)
        self.saves_weights = self._saves_weights(len(pool.users), epoch_idx)
        start = self._item_rows().clone() if "before" in self.state else None
        ask = self._asking(train_data, pool, epoch_idx)
        name, hidden = f"{self.label}, epoch {epoch_idx}", None if show_progress else True
        rounds, count = self._rounds(pool, epoch_idx)
        bar = tqdm(rounds, desc=name, unit="round", total=count, leave=False, disable=hidden)
        total, heard, measured = 0.0, 0, False
        for index, clients in enumerate(bar):
            measures = not measured and bool(pool.malicious[clients].any())
            with torch_stream(self.device, self.seed, "dropout", epoch_idx, index):
                record = self._round(train_data, pool, clients, ask, epoch_idx, index, measures)
            self.rounds.append({"epoch": epoch_idx, "round": index, **record})
            total, heard = total + (record["loss"] or 0.0) * record["honest"], heard + record["honest"]
            measured |= measures
        self._warn_of_frozen(epoch_idx, count)
        self.scored = torch.cat([self.scored, *self.newly_scored], dim=1)
        self.before = start
        return total / heard if heard else nan

    def _rounds(self, pool: ClientPool, epoch: int) -> tuple[Iterable[Int], int]:
        """Who is asked in each round of an epoch, and how many rounds it has."""
        size, count = self.config["clients_per_round"], self.config["rounds_per_epoch"]
        if count is not None:
            return pool.sampled_rounds(self.seed, epoch, size, count), count
        rounds = pool.rounds(self.seed, epoch, size)
        return rounds, len(rounds)

    def rule(self, epoch: int, index: int) -> Aggregator:
        """The rule in one round, with what it draws, remembers and asks the server for."""
        return informed(self.aggregator.in_round(epoch, index, self.saved), self.model, self.config, self.optimizer)

    def _asking(self, train_data: TrainData, pool: ClientPool, epoch: int) -> Ask:
        """How the clients of the rounds of an epoch are asked for their updates: here, they are computed at once."""
        side = self.client_side
        grouping = lru_cache(maxsize=1)(partial(side.grouping, train_data, before=self.before))

        def ask(honest: Int, malicious: Int, index: int, measured: bool) -> Computed:
            groups = grouping(side.period(epoch, index))(pool.users[honest], pool.users[malicious])
            rule = self.rule(epoch, index)
            known = replace(self.aggregator, saved=self.saved)  # the rule and its memory, not the server's coins
            craft = side.crafting(train_data, known, epoch, index, self.before)
            losses, result, norms, scores = self.backend(self.model, groups, rule, self.config, self.memory, craft)
            loudness = Loudness(None, None)
            if measured and norms is not None:
                sent = norms()
                loudness = medians(sent, torch.arange(len(sent), device=sent.device) >= len(honest))
            elif measured:
                loudness = measure(self.model, groups, self.config, (self.seed, epoch, index))
            return Computed(honest, malicious, losses, result, loudness, scores)

        return ask

    def _round(
        self, train_data: TrainData, pool: ClientPool, clients: Int, ask: Ask, epoch: int, index: int, measured: bool
    ) -> dict[str, Any]:
        start = perf_counter()
        hostile = pool.malicious[clients]
        came = ask(clients[~hostile], clients[hostile], index, measured)
        honest, malicious, losses, result, loudness, scores, notes = came
        hostile_ones = torch.arange(len(losses)) >= len(honest)
        if self.detectors:
            self.newly_scored.append(scored_clients(scores, hostile_ones, self.detectors))
        candidates = self.client_side.candidates(
            train_data, pool.users[malicious], self.client_side.period(epoch, index)
        )
        self.saved, result = self.saved if result.saved is None else result.saved, result.on_host()
        self._report(train_data, pool, np.concatenate([honest, malicious]), result, epoch, index)
        norm = self._step(result.update, epoch) if result.kept.any() else 0.0
        return {
            "honest": len(honest),
            "malicious": len(malicious),
            "loss": float(losses[: len(honest)].mean()) if len(honest) else None,
            "malicious_loss": float(losses[len(honest) :].mean()) if len(malicious) else None,
            "rejected": int((~result.kept).sum()),
            "malicious_weight": weight_share(result.client_weights, len(honest)),
            "honest_norm": loudness.honest,
            "malicious_norm": loudness.malicious,
            "valid_candidates": candidates,
            "iterations": result.iterations,
            "residual": result.residual,
            "update_norm": norm,
            "learning_rate": self.optimizer.param_groups[0]["lr"],
            **detection_columns(scores, hostile_ones, self.detectors),
            **notes,
            "seconds": perf_counter() - start,
        }

    def _nothing_saved(self) -> Any:
        """What the rule remembers before the first round."""
        return self.aggregator.remembered(self._item_rows(), self.model.n_items)

    def _item_rows(self) -> torch.Tensor:
        return self.model.item_embedding.weight.detach()

    def _step(self, update: Update, epoch: int) -> float:
        """The server's step along the update, and the update's norm."""
        for name, parameter in self.model.named_parameters():
            parameter.grad = update[name]
        norm = torch.linalg.vector_norm(torch.stack([g.norm() for g in update.values()])).item()
        if not np.isfinite(norm):
            raise TrainingError(f"the aggregated update is not finite in epoch {epoch}: training diverged")
        if self.clip_grad_norm:
            clip_grad_norm_(self.model.parameters(), **self.clip_grad_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return norm

    def _report(
        self, train_data: TrainData, pool: ClientPool, clients: Int, result: Aggregated, epoch: int, index: int
    ) -> None:
        """Warn of rejected updates, and remember weights the configuration alone does not tell."""
        if result.rejected:
            reasons = ", ".join(f"{count} {reason}" for reason, count in result.rejected.items())
            text = f"epoch {epoch}, round {index}: {sum(result.rejected.values())} updates rejected: {reasons}"
            self.logger.warning(text if result.kept.any() else f"{text}; none is left, the model stays as it is")
        self.frozen.update(result.frozen)
        if self.saves_weights:
            dataset = train_data.dataset
            tokens = dataset.tokens(dataset.uid_field, pool.users[clients])
            self.client_weights += client_weights(epoch, index, pool, clients, result, tokens)

    def _saves_weights(self, n_clients: int, epoch: int) -> bool:
        """Whether weights are written: where the configuration does not say, unless they are millions."""
        if self.aggregator.one_pass:
            return False
        wanted = self.config["save_client_weights"]
        if wanted is None and n_clients > MANY_CLIENTS and epoch == 0:
            self.logger.info(f"weights of {n_clients} clients are not written: save_client_weights=True writes them")
        return n_clients <= MANY_CLIENTS if wanted is None else bool(wanted)

    def uploads(self) -> dict[str, float | None] | None:
        """What malicious clients uploaded over all rounds so far: :func:`~recbole_attack.trainer.sums.uploads_summary`;
        ``None`` without an attack."""
        return None if self.attack is None else uploads_summary(self.rounds)

    def detection(self) -> dict[str, dict[str, float | None]]:
        """How well client detectors did: :func:`~recbole_attack.trainer.sums.detection_summary`."""
        return detection_summary(self.scored, self.detectors)

    def _warn_of_frozen(self, epoch: int, rounds: int) -> None:
        """Say which parameters hardly learn: one line an epoch, since it is often every round."""
        names = [name for name, count in self.frozen.items() if count == self.frozen.most_common(1)[0][1]]
        if names:
            what = names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} other parameters"
            self.logger.warning(
                f"epoch {epoch}: aggregator '{self.config['aggregator']}' made an update of zero for {what} in "
                f"{self.frozen[names[0]]} of {rounds} rounds, though clients sent others"
            )

    def _restore(self, state: Mapping[str, Any]) -> None:
        super()._restore(state)
        if "before" in self.state:
            check_like("before", self.before, self._item_rows())
        if "saved" in self.state:
            check_like("saved", self.saved, self._nothing_saved())
        self.rounds = self.rounds_file.back_to(self.written_rounds)
        check_epochs("rounds", self.rounds, self.start_epoch, absent=True)
        if "scored" in self.state:
            clients = sum(int(row["honest"] or 0) + int(row["malicious"] or 0) for row in self.rounds)
            check_like("scored", self.scored, torch.zeros(1 + len(self.detectors), 1).expand(-1, clients))
            self.scored = self.scored.cpu()  # records are the host's, and checkpoints are read to the device
        self.uploads()

    def _save_state(self) -> None:
        if self.client_weights:
            write_client_weights(self.resume_file.parent, self.client_weights)
        self.rounds_file.append(row for row in self.rounds if row["epoch"] == self.start_epoch - 1)
        self.written_rounds = self.rounds_file.mark
        super()._save_state()  # last: a run that goes on from it has to find the files of all it has done
