"""Our aggregation rules in anybody's Flower app."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from logging import WARNING
from typing import Any

import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.common import log
from flwr.serverapp import Grid
from flwr.serverapp.strategy import FedAvg

from recbole_attack.config.checks import check_each
from recbole_attack.config.defaults import load_defaults
from recbole_attack.config.options import OPTIONS
from recbole_attack.defense import AGGREGATORS, configured_aggregator, refusal
from recbole_attack.federated.arrivals import aggregate_one_by_one
from recbole_attack.utils.errors import ConfigError, TrainingError, did_you_mean, lookup, shown

_LEAST, _MOST = 1e-30, 2.0**53
"""Smallest and largest weight of a client: float32 holds them and the sum of many, and float64 counts up to it."""


class RobustStrategy(FedAvg):
    """Flower's FedAvg with another rule.

    Clients send parameters, and a rule wants updates: what they were sent minus what they return, the direction in
    which this package's servers step. The new parameters are those that were sent minus the aggregated update. A reply
    that is an error, or has other arrays than were sent, or numbers no rule can bear, is left out and logged; arrays
    that are not floating point, such as counters, stay as they were. Rules are applied to whole updates. A strategy
    lasts for one run at a time.

    Args:
        rule: A name of :data:`~recbole_attack.defense.AGGREGATORS`.
        client_weighting: ``uniform``, or ``examples``: what clients say at ``weighted_by_key``, which is theirs to
            choose.
        seed: Draws what a rule draws anew in each round, such as who of equal clients comes first.
        options: The rule's own parameters (``properties/defense/<rule>.yaml``), and FedAvg's arguments.

    Raises:
        ConfigError: There is no such rule or option, its value is not valid, or the rule needs a server of ours.
    """

    def __init__(self, rule: str, client_weighting: str = "uniform", seed: int = 0, **options: Any) -> None:
        lookup(AGGREGATORS, rule, "aggregator")
        values = load_defaults(f"defense/{rule}")
        values.update({name: options.pop(name) for name in list(options) if name in values})
        check_each({name: OPTIONS[name] for name in values if name in OPTIONS}, values)
        OPTIONS["client_weighting"].check("client_weighting", client_weighting)
        OPTIONS["seed"].check("seed", seed)
        try:
            super().__init__(**options)
        except TypeError as error:
            name = str(error).rpartition("argument ")[2].strip("'")
            raise ConfigError(f"unknown option {shown(name)} of rule '{rule}'{did_you_mean(name, values)}") from error
        whole = {"aggregator": rule, "per_item": False, "pre_aggregator": "none", "seed": seed}
        self.rule, self.client_weighting = rule, client_weighting
        self.aggregator = configured_aggregator(values | whole)
        if self.aggregator.asks or self.aggregator.bank:
            raise ConfigError(f"rule '{rule}' needs a server of ours, for what it knows and remembers")
        self.sent: ArrayRecord | None = None

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Configure the next round, and remember what clients are sent."""
        self.sent = arrays
        return super().configure_train(server_round, arrays, config, grid)

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """The new parameters by the rule, and the metrics of the clients that were kept, as FedAvg has them.

        Raises:
            RuntimeError: No round was configured.
            TrainingError: A rule that looks at no values was sent some that are not finite.
        """
        if self.sent is None:
            raise RuntimeError("aggregate_train was called before configure_train")
        sent = {name: torch.from_numpy(array.numpy().copy()) for name, array in self.sent.items()}
        parameters = {name: value for name, value in sent.items() if value.is_floating_point()}
        replies = list(replies)
        contents = _contents(replies)
        weighed = [(content, self._weight(content)) for content in contents]
        usable = [(content, weight) for content, weight in weighed if weight is not None]
        counters = sent.keys() - parameters.keys()
        updates = [_update(content, parameters, counters) for content, _ in usable]
        weights = torch.tensor([weight for _, weight in usable], dtype=torch.float32)
        found = aggregate_one_by_one(updates, weights, self.aggregator.in_round(0, server_round), parameters)
        unread = {"an error": len(replies) - len(contents), "without a weight": len(weighed) - len(usable)}
        refused = {reason: count for reason, count in {**found.rejected, **unread}.items() if count}
        if refused:
            reasons = ", ".join(f"{count} {reason}" for reason, count in refused.items())
            log(WARNING, "aggregate_train: round %s: replies refused: %s", server_round, reasons)
        if not found.kept.any():
            return None, None
        new = {**sent, **{name: value - found.update[name] for name, value in parameters.items()}}
        if not all(value.isfinite().all() for value in new.values()):
            raise TrainingError(f"the new parameters are not finite in round {server_round}: training diverged")
        kept = [content for (content, _), keep in zip(usable, found.kept.tolist(), strict=True) if keep]
        metrics = self._metrics(kept, self.train_metrics_aggr_fn)
        return ArrayRecord({name: Array(value.numpy()) for name, value in new.items()}), metrics

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord | None:
        """Metrics of the clients that say what they weigh and report what most of them do, as FedAvg has them."""
        return self._metrics(_contents(replies), self.evaluate_metrics_aggr_fn)

    def _weight(self, content: RecordDict) -> float | None:
        """A client's weight in the rule, ``None`` if what it says is none."""
        return 1.0 if self.client_weighting == "uniform" else self._said(content)

    def _said(self, content: RecordDict) -> float | None:
        said = [record.get(self.weighted_by_key) for record in content.metric_records.values()]
        valid = len(said) == 1 and isinstance(said[0], (int, float)) and _LEAST <= said[0] <= _MOST
        return float(said[0]) if valid else None

    def _metrics(self, kept: list[RecordDict], average: Any) -> MetricRecord | None:
        """Metrics as FedAvg has them, of clients that say what they weigh and report what most of them do."""
        forms = [_form(content) if self._said(content) is not None else None for content in kept]
        common = Counter(form for form in forms if form is not None).most_common(1)
        if not common:
            return None
        fitting = [content for content, form in zip(kept, forms, strict=True) if form == common[0][0]]
        return average(fitting, self.weighted_by_key)


def _contents(replies: Iterable[Message]) -> list[RecordDict]:
    """What came of the replies that are not errors."""
    return [reply.content for reply in replies if not reply.has_error()]


def _form(content: RecordDict) -> tuple[tuple[str, int], ...]:
    """Names of a client's metrics and how many values each has, 0 for a single one."""
    (record,) = content.metric_records.values()
    return tuple(sorted((name, len(value) if isinstance(value, list) else 0) for name, value in record.items()))


def _update(content: RecordDict, parameters: Mapping[str, torch.Tensor], others: Collection[str]) -> Any:
    """What a client's parameters differ by, or what it sent where they are none: the server's to refuse.

    Args:
        content: What it sent.
        parameters: What it was sent.
        others: Names of arrays that are not looked at.
    """
    records = list(content.array_records.values())
    if len(records) != 1:
        return None
    names = [name for name in records[0] if name not in others]
    try:
        theirs = {name: torch.from_numpy(records[0][name].numpy().copy()) for name in names}
    except Exception:  # whatever bytes of others make NumPy raise, for want of memory too
        return None
    if refusal(theirs, parameters):
        return theirs
    return {name: value - theirs[name] for name, value in parameters.items()}
