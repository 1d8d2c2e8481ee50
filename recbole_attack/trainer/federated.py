"""Federated training: rounds of client updates, some of them malicious."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch.nn.utils import clip_grad_norm_
from tqdm.auto import tqdm

from recbole_attack.attack import ATTACKS, Attack, AttackContext, Profile
from recbole_attack.data import Split, TrainData
from recbole_attack.data.batches import Float
from recbole_attack.data.sequences import Int
from recbole_attack.defense import CLIENT_DEFENSES, configured_aggregator
from recbole_attack.federated import ClientPool, client_pool
from recbole_attack.federated.client_updates import Memory
from recbole_attack.federated.loudness import Loudness, measure
from recbole_attack.federated.rounds import BACKENDS, ClientGroup
from recbole_attack.federated.server import Aggregated
from recbole_attack.federated.updates import Update
from recbole_attack.threat import Threat
from recbole_attack.trainer.base import AttackTrainer
from recbole_attack.trainer.client_weights import ClientWeight, client_weights, write_client_weights
from recbole_attack.trainer.resuming import check_epochs
from recbole_attack.utils.errors import TrainingError
from recbole_attack.utils.files import write_csv
from recbole_attack.utils.rng import torch_stream

Sampled = tuple[Int, Float | None, Float | None]
"""Of all training interactions at one local step: negatives, and what models and client defences draw, if they do."""


class FederatedTrainer(AttackTrainer):
    """FedAvg (McMahan et al. 2017) over users as clients, with the configured attack and aggregation.

    In a round, every sampled client sends an update, the server aggregates them and its optimiser
    (``learner``, ``learning_rate``) steps along the result.

    Attributes:
        rounds: One dict per step of the server, for ``rounds.csv``.
        client_weights: Who got how much weight in the last epoch, for ``client_weights/``.
        frozen: In how many rounds of the last epoch the aggregation left which parameters as they were.
    """

    state = (*AttackTrainer.state, "rounds")

    def __init__(self, config: Any, model: Any, threat: Threat, split: Split) -> None:
        super().__init__(config, model, threat, split)
        self.attack = ATTACKS[config["attack"]](config.final_config_dict)
        self.targets = torch.from_numpy(threat.targets).to(self.device)
        self.aggregator = configured_aggregator(config.final_config_dict)
        self.client_defense = CLIENT_DEFENSES[config["client_defense"]](config.final_config_dict)
        self.backend, self.memory = BACKENDS[config["backend"]], Memory()
        self.rounds: list[dict[str, Any]] = []
        self.client_weights: list[ClientWeight] = []
        self.frozen: Counter[str] = Counter()

    def clients(self, train_data: TrainData) -> ClientPool:
        """The clients of this run; without an attack nobody is malicious."""
        malicious = self.threat.malicious_users if self.attack else self.threat.malicious_users[:0]
        return client_pool(train_data.trainable_users, malicious, self.threat.clone)

    def _train_epoch(
        self, train_data: TrainData, epoch_idx: int, loss_func: Any = None, show_progress: bool = False
    ) -> float:
        """Mean loss of the honest clients in one epoch."""
        self.model.train()
        self.client_weights, self.frozen = [], Counter()
        pool = self.clients(train_data)
        sampled = [self._sampled(train_data, epoch_idx, step) for step in range(self.config["local_epochs"])]
        rounds = pool.rounds(self.seed, epoch_idx, self.config["clients_per_round"])
        name, hidden = f"{self.label}, epoch {epoch_idx}", None if show_progress else True
        bar = tqdm(rounds, desc=name, unit="round", leave=False, disable=hidden)
        attacked = [index for index, clients in enumerate(rounds) if pool.malicious[clients].any()]
        total = 0.0
        for index, clients in enumerate(bar):
            with torch_stream(self.device, self.seed, "dropout", epoch_idx, index):
                record = self._round(train_data, pool, clients, sampled, epoch_idx, index, index in attacked[:1])
            self.rounds.append({"epoch": epoch_idx, "round": index, **record})
            total += record["loss"] * record["honest"]
        self._warn_of_frozen(epoch_idx, len(rounds))
        return total / max(int((~pool.malicious).sum()), 1)

    def _round(
        self,
        train_data: TrainData,
        pool: ClientPool,
        clients: Int,
        sampled: list[Sampled],
        epoch: int,
        index: int,
        measured: bool,
    ) -> dict[str, Any]:
        start = perf_counter()
        honest, malicious = clients[~pool.malicious[clients]], clients[pool.malicious[clients]]
        groups = list(self._groups(train_data, pool.users[honest], pool.users[malicious], sampled, epoch))
        losses, result = self.backend(self.model, groups, self.aggregator, self.config, self.memory)
        loudness = measure(self.model, groups, self.config) if measured else Loudness(None, None)
        candidates = self._candidates(train_data, pool.users[malicious], epoch)
        self._report(train_data, pool, np.concatenate([honest, malicious]), result, epoch, index)
        norm = self._step(result.update, epoch) if result.kept.any() else 0.0
        return {
            "honest": len(honest),
            "malicious": len(malicious),
            "loss": float(losses[: len(honest)].mean()) if len(honest) else 0.0,
            "malicious_loss": float(losses[len(honest) :].mean()) if len(malicious) else None,
            "rejected": int((~result.kept).sum()),
            "malicious_weight": _share(result.client_weights, len(honest)),
            "honest_norm": loudness.honest,
            "malicious_norm": loudness.malicious,
            "valid_candidates": candidates,
            "iterations": result.iterations,
            "residual": result.residual,
            "update_norm": norm,
            "learning_rate": self.optimizer.param_groups[0]["lr"],
            "seconds": perf_counter() - start,
        }

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
        if self.config["save_client_weights"] and not self.aggregator.one_pass:
            dataset = train_data.dataset
            tokens = dataset.tokens(dataset.uid_field, pool.users[clients])
            self.client_weights += client_weights(epoch, index, pool, clients, result, tokens)

    def uploads(self) -> dict[str, float | None] | None:
        """How much malicious clients' uploads counted and how long they were, over all rounds so far.

        Returns:
            ``malicious_weight``, their mean share of a round's weight (``None`` for rules on coordinates, which have no
            weights); ``norm_ratio``, the median over epochs of the median malicious norm over the median honest one
            (:mod:`~recbole_attack.federated.loudness`); ``valid_candidates``, the median over rounds of how many items
            the substitution had to choose from (``None`` without one).
        """
        if self.attack is None:
            return None
        shares = [row["malicious_weight"] for row in self.rounds]
        pairs = [(row["malicious_norm"], row["honest_norm"]) for row in self.rounds]
        ratios = [malicious / honest for malicious, honest in pairs if malicious is not None and honest]
        candidates = [row["valid_candidates"] for row in self.rounds if row["valid_candidates"] is not None]
        return {
            "malicious_weight": None if None in shares else float(np.mean(shares)),
            "norm_ratio": float(np.median(ratios)) if ratios else None,
            "valid_candidates": float(np.median(candidates)) if candidates else None,
        }

    def _warn_of_frozen(self, epoch: int, rounds: int) -> None:
        """Say which parameters hardly learn: one line an epoch, since it is often every round."""
        names = [name for name, count in self.frozen.items() if count == self.frozen.most_common(1)[0][1]]
        if names:
            what = names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} other parameters"
            self.logger.warning(
                f"epoch {epoch}: aggregator '{self.config['aggregator']}' made an update of zero for {what} in "
                f"{self.frozen[names[0]]} of {rounds} rounds, though clients sent others"
            )

    def _check_state(self) -> None:
        super()._check_state()
        check_epochs("rounds", self.rounds, self.start_epoch)
        self.uploads()

    def _save_state(self) -> None:
        if self.client_weights:
            write_client_weights(self.resume_file.parent, self.client_weights)
        if self.rounds:
            rows = [list(record.values()) for record in self.rounds]
            write_csv(self.resume_file.with_name("rounds.csv"), list(self.rounds[0]), rows)
        super()._save_state()  # last: a run that goes on from it has to find the files of all it has done

    def _groups(
        self, train_data: TrainData, honest: Int, malicious: Int, sampled: list[Sampled], epoch: int
    ) -> Iterator[ClientGroup]:
        """The round's clients by what they compute, honest ones first."""
        examples = self.config["client_weighting"] == "examples"
        weights = train_data.examples.astype(np.float32) if examples else np.ones(train_data.sequences.n_users, "f4")
        if len(honest):
            yield self._honest_group(train_data, honest, weights[honest], sampled)
        if len(malicious):
            assert self.attack is not None
            yield self._malicious_group(self.attack, train_data, malicious, weights[malicious], epoch)

    def _sampled(self, train_data: TrainData, epoch: int, step: int) -> Sampled:
        draws = train_data.draws("masks", epoch, step) if self.model.needs_draws else None
        fate = train_data.draws("client defense", epoch, step) if self.client_defense else None
        negatives = train_data.shared_negatives if self.config["shared_negatives"] else train_data.negatives
        return negatives(epoch, step), draws, fate

    def _honest_group(self, train_data: TrainData, users: Int, weights: Any, sampled: list[Sampled]) -> ClientGroup:
        batches = [train_data.batch(users, negatives, masks).to(self.device) for negatives, masks, _ in sampled]
        fates = [fate for _, _, fate in sampled if fate is not None]
        defense, tokens = self.client_defense, self.model.tokens(batches[0].lengths).cpu()
        factors = torch.from_numpy(weights).to(self.device)

        def losses(model: Any, rows: torch.Tensor, step: int) -> torch.Tensor:
            return model.client_losses(batches[step].rows(rows))

        if defense is None:
            return ClientGroup(factors, tokens, losses, batches)
        draws = [train_data.aligned(values, users).to(self.device) for values in fates]

        def defended(model: Any, rows: torch.Tensor, step: int) -> torch.Tensor:
            return defense(model, batches[step].rows(rows), draws[step][rows])

        return ClientGroup(factors, tokens, defended)

    def _malicious_group(
        self, attack: Attack, train_data: TrainData, users: Int, weights: Any, epoch: int
    ) -> ClientGroup:
        profile = self._profile(train_data, users)

        def losses(model: Any, rows: torch.Tensor, step: int) -> torch.Tensor:
            width = int(profile.item_seq_len[rows].max())
            part = Profile(profile.item_seq[rows, :width], profile.item_seq_len[rows])
            return attack.losses(model, part, users[rows.cpu().numpy()], self._context(train_data, epoch, step))

        cost = profile.item_seq_len.cpu() * attack.rows(len(self.threat.targets))
        return ClientGroup(torch.from_numpy(weights).to(self.device), cost, losses, malicious=True)

    def _candidates(self, train_data: TrainData, users: Int, epoch: int) -> float | None:
        """See :meth:`~recbole_attack.attack.attack.Attack.candidates`; ``None`` without a malicious client."""
        if self.attack is None or not len(users):
            return None
        context = self._context(train_data, epoch, 0)
        return self.attack.candidates(self.model, self._profile(train_data, users), users, context)

    def _profile(self, train_data: TrainData, users: Int) -> Profile:
        """What the clients of ``users`` hold."""
        items, lengths = train_data.sequences.last(users, train_data.max_length)
        return Profile(torch.from_numpy(items).to(self.device), torch.from_numpy(lengths).to(self.device))

    def _context(self, train_data: TrainData, epoch: int, step: int) -> AttackContext:
        return AttackContext(self.targets, train_data.outside, self.seed, epoch, step)


def _share(client_weights: torch.Tensor | None, n_honest: int) -> float | None:
    """Malicious clients' share of the aggregation weight; ``None`` for rules on coordinates, which have no weights."""
    if client_weights is None or not float(client_weights.sum()):
        return None
    return float(client_weights[n_honest:].sum() / client_weights.sum())
