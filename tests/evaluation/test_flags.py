"""Every flag on a rule, or on rounds, that must raise it, and silence on the mean."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from recbole_attack import AttackConfig, register_aggregator
from recbole_attack.config.registered import REGISTERED
from recbole_attack.defense import AGGREGATORS, CLIENT_DEFENSES, Aggregator
from recbole_attack.defense.weighting import Weighting
from recbole_attack.evaluation.flags import FLAGS, accuracy_flags, blocking, masked_flag, presence_flags, rule_flags
from recbole_attack.evaluation.presence import Presence, _touching, presence
from recbole_attack.evaluation.probe import nature
from recbole_attack.utils.errors import ConfigError

LIMITS = {"weak_below": 0.8, "starved_below": 0.1, "masked_above": 0.02, "minority_above": 0.5}
ENSEMBLE = SimpleNamespace(thresholds=LIMITS, references={"SASRec on known": 0.4}, data_only=frozenset({"data"}))


def raised(**rule):
    return rule_flags(nature(AttackConfig(config_dict={"attack": "none", **rule}).final_config_dict))


@pytest.fixture
def registered():
    """``registered(rule)``: the name of a rule from outside, forgotten at the end of the test."""

    def register(rule):
        register_aggregator("foreign", lambda config: rule)
        return "foreign"

    yield register
    AGGREGATORS.pop("foreign", None)
    REGISTERED.pop("defense/foreign", None)


def alike(gram, weights):
    return Weighting(torch.full(gram.shape[:-1], 1 / gram.shape[-1], dtype=torch.float64))


def noisy(values, weights):
    return values.mean(dim=0) + 0.1 * torch.randn(values.shape[1:])


def first_half(gram, weights):
    """The mean of the clients that come first."""
    n = gram.shape[-1]
    chosen = (torch.arange(n) < max(n // 2, 1)).double().expand(gram.shape[:-1])
    return Weighting(chosen / chosen.sum(dim=-1, keepdim=True))


def some_of_many(values, weights):
    """Draws where there are more than 32 clients."""
    return values[torch.randperm(len(values))[:32]].mean(dim=0)


def clipped_whole(values, weights):
    """Looks at all coordinates of a client at once, of which it sees a few."""
    norms = values.reshape(len(values), -1).norm(dim=1).clamp(min=1e-9)
    return (values / norms.view(-1, *[1] * (values.ndim - 1))).mean(dim=0)


# What follows from the rule


def test_the_mean_raises_nothing():
    assert raised() == raised(per_item=True) == {}


@pytest.mark.parametrize(
    ("rule", "flag"),
    [
        ({"aggregator": "median"}, "sees updates"),
        ({"aggregator": "trimmed_mean"}, "knows attackers"),
        ({"aggregator": "krum", "byzantine_ratio": 0.1}, "knows attackers"),
        ({"pre_aggregator": "nnm", "hostile_ratio": 0.1}, "knows attackers"),
        ({"aggregator": "median", "pre_aggregator": "bucketing"}, "random"),
        ({"client_defense": "adversarial_training"}, "changes clients"),
    ],
    ids=str,
)
def test_rules_of_the_catalogue(rule, flag):
    assert flag in raised(**rule)


def test_of_the_catalogue_only_rules_that_trust_what_they_drew_are_random_and_none_goes_by_order():
    found = {name: raised(aggregator=name) for name in AGGREGATORS}
    assert [name for name in found if "random" in found[name]] == ["exposure_quota", "fl_trust", "union"]
    assert not [name for name in found if "order" in found[name]]


def test_krum_that_takes_the_most_there_can_be_knows_nothing():
    assert list(raised(aggregator="krum")) == ["sees updates"]


@pytest.mark.parametrize("later", [False, True], ids=["when it is made", "when it is applied"])
def test_a_rule_that_reads_what_attackers_do(registered, later):
    def made(config):
        ratio = None if later else config["malicious_ratio"]
        return Aggregator(combine=lambda values, _: values.mean(0) * (ratio or config.get("malicious_ratio")))

    AGGREGATORS[registered(None)] = made
    assert raised(aggregator="foreign", malicious_ratio=0.2)["knows attackers"] == "malicious_ratio 0.2"


@pytest.mark.parametrize("key", ["attack_weight", "row_scale", "tried_lengths", "hard_user_pool"])
def test_a_rule_that_reads_what_only_an_attack_has(registered, key):
    """It could stop training under attack, and be as accurate as ever without."""

    def made(config):
        return Aggregator(combine=lambda values, _: values.mean(0) * (config.get(key) is None))

    AGGREGATORS[registered(None)] = made
    assert key in raised(aggregator="foreign")["knows attackers"]


@pytest.mark.parametrize(
    "copied", [lambda config: {**config}, lambda config: dict(config.items())], ids=["**", "items"]
)
def test_a_rule_that_copies_all_parameters_has_read_all(registered, copied):
    def made(config):
        copy = copied(config)
        return Aggregator(combine=lambda values, _: values.mean(0) * copy["malicious_ratio"])

    AGGREGATORS[registered(None)] = made
    said = raised(aggregator="foreign", malicious_ratio=0.2)["knows attackers"]
    assert said.split(", ")[:3] == ["attack none", "malicious_clients clone", "malicious_ratio 0.2"]


@pytest.mark.parametrize("key", ["target_items", "gradient_scale"])
def test_a_client_defence_that_reads_what_attackers_do(monkeypatch, key):
    monkeypatch.setitem(CLIENT_DEFENSES, "adversarial_training", lambda config: config[key] and None)
    assert raised(client_defense="adversarial_training", gradient_scale=2.0)["knows attackers"].startswith(key)


def test_a_rule_that_takes_whom_comes_first_never_meets_attackers(registered):
    found = raised(aggregator=registered(Aggregator(first_half, needs=frozenset())))
    assert list(found) == ["order", "sees updates"]


def test_in_an_order_drawn_by_chance_it_is_random(registered):
    found = raised(aggregator=registered(Aggregator(first_half, ties=True, needs=frozenset())))
    assert list(found) == ["random", "sees updates"]


def test_a_rule_that_draws_among_as_many_clients_as_a_round_has(registered):
    assert "random" in raised(aggregator=registered(Aggregator(combine=some_of_many, needs=frozenset())))


@pytest.mark.parametrize(
    ("combine", "said"),
    [
        (clipped_whole, "the same for all coordinates at once and for a few at a time"),
        (lambda values, weights: (weights[:, None] * values).sum(0), "failed on updates made up"),
    ],
    ids=["another result", "another shape"],
)
def test_a_rule_that_would_fail_on_sparse_rows_fails_before(registered, combine, said):
    with pytest.raises(ConfigError, match=said):
        raised(aggregator=registered(Aggregator(combine=combine, needs=frozenset())))


def broken(config):
    return config["aggregator"].no_such_thing


@pytest.mark.parametrize(("part", "kind"), [(AGGREGATORS, "aggregator"), (CLIENT_DEFENSES, "client_defense")])
def test_a_part_that_cannot_be_made_is_named(monkeypatch, part, kind):
    monkeypatch.setitem(part, "broken", broken)
    monkeypatch.setitem(REGISTERED, "defense/broken", {})
    with pytest.raises(ConfigError, match=rf"{kind} 'broken' cannot be made: AttributeError: .*no_such_thing"):
        raised(**{kind: "broken"})


def test_a_rule_that_draws_from_torchs_own_state(registered):
    found = raised(aggregator=registered(Aggregator(combine=noisy, needs=frozenset())))
    assert list(found) == ["random", "sees updates"]


@pytest.mark.parametrize(
    ("needs", "flags"),
    [
        (None, {"does not say"}),
        (frozenset(), set()),
        (frozenset({"attackers"}), {"knows attackers"}),
        (frozenset({"server_data", "identities"}), {"server data", "identities"}),
    ],
    ids=["unsaid", "nothing", "attackers", "data and identities"],
)
def test_what_a_rule_from_outside_says_it_needs(needs, flags, registered):
    assert set(raised(aggregator=registered(Aggregator(alike, linear=True, needs=needs)))) == flags


def test_a_need_is_one_of_the_words_there_are():
    with pytest.raises(ValueError, match="needs must be among attackers, server_data, identities: found oracle"):
        Aggregator(alike, needs=frozenset({"oracle"}))


# What follows from models


def figures(hit=0.4, tail=1.0, head=2.0):
    return {"mean": {"hit@10": 0.4}, "clean": {"hit@10": hit, "tail moved": tail, "head moved": head}}


@pytest.mark.parametrize(
    ("found", "flags"),
    [
        (figures(), []),
        (figures(hit=0.31), ["weak victim"]),
        (figures(tail=0.2), ["starved"]),
        (figures(tail=0.0, head=0.0), ["starved"]),
        (figures(tail=None), ["not measured"]),
    ],
    ids=["fine", "weak", "starved", "nothing moves", "older"],
)
def test_models_without_an_attack(found, flags):
    assert list(accuracy_flags(found, ENSEMBLE, "SASRec on unknown")) == flags


def test_a_victim_is_held_against_central_training_where_that_is_known():
    weak = {**figures(hit=0.2), "mean": {"hit@10": 0.2}}
    assert list(accuracy_flags(weak, ENSEMBLE, "SASRec on unknown")) == []
    assert list(accuracy_flags(weak, ENSEMBLE, "SASRec on known")) == ["weak victim"]


@pytest.mark.parametrize(
    ("data", "gradient", "masked"),
    [(0.5, 0.4, True), (0.41, 0.4, False), (0.1, 0.4, False)],
    ids=["more", "noise", "less"],
)
def test_false_data_that_beats_gradients(data, gradient, masked):
    budgets = {"0.01": {"attacks": {"data": data, "one": gradient, "other": 0.0}}}
    assert bool(masked_flag({"norm": {"budgets": budgets}}, ENSEMBLE)) is masked


# What follows from the rounds


def test_clients_that_are_never_asked(config):
    sampled = {"malicious_ratio": 0.01, "rounds_per_epoch": 1, "clients_per_round": 1, "epochs": 1}
    never, always = (presence(config(attack="margin", **run), False) for run in (sampled, {"epochs": 3}))
    assert never.asked == 0 and always.asked == 3 * 3  # 3 clones in each of 3 epochs
    found = presence_flags({(0.01, 1): never, (0.05, 1): always}, ENSEMBLE)
    assert list(found) == ["never asked"] and found["never asked"] == "1.00 %, seed 1"


def test_a_row_that_more_malicious_than_honest_clients_touch(config):
    """Of one honest client a round, with as many clones as users: they are the majority wherever they are several."""
    rounds = {"attack": "margin", "clients_per_round": 1, "epochs": 1, "target_items": "stratified:3"}
    few, many = (presence(config(**rounds, malicious_ratio=ratio), True) for ratio in (0.02, 1.0))
    assert set(few.outnumbered) == set(many.outnumbered) and len(many.outnumbered) == 3
    assert all(few.outnumbered[item] <= 1 for item in few.outnumbered)
    found = presence_flags({(1.0, 1): many}, ENSEMBLE)
    assert list(found) == ["no honest majority"] and found["no honest majority"].startswith("at 100.00 %, item ")


def test_who_touches_a_row_by_counting(config, monkeypatch):
    """Every history and negative of a round, client by client."""
    from recbole_attack.experiment import prepare_training
    from recbole_attack.federated import client_pool

    run = config(attack="margin", clients_per_round=4, epochs=1, target_items="stratified:3", malicious_ratio=0.2)
    experiment = prepare_training(run)
    data, threat = experiment.train_data, experiment.threat
    pool = client_pool(data.trainable_users, threat.malicious_users, threat.clone)
    negatives, shares = data.negatives(0), []
    for clients in pool.rounds(run["seed"], 0, 4):
        hostile = sum(pool.malicious[client] for client in clients)
        if hostile:
            honest = [0] * len(threat.targets)
            for client in clients:
                batch = data.batch(pool.users[[client]], negatives)
                items = {int(item) for part in batch[:3] for item in part.flatten()}
                for place, target in enumerate(threat.targets):
                    honest[place] += (not pool.malicious[client]) and int(target) in items
            shares.append([hostile > count for count in honest])
    expected = [sum(column) / len(shares) for column in zip(*shares, strict=True)]
    assert list(presence(run, True).outnumbered.values()) == pytest.approx(expected)
    assert 0 < sum(expected) < len(expected)
    monkeypatch.setitem(run.final_config_dict, "loss_type", "CE")  # touches every row
    assert sum(presence(run, True).outnumbered.values()) < sum(expected)


@pytest.mark.parametrize(
    ("defense", "options"),
    [
        ("adversarial_training", {"adversarial_ratio": 0.9}),
        ("adversarial_training", {"adversarial_ratio": 0.0}),
        ("popularity_regularization", {}),
    ],
    ids=str,
)
def test_who_touches_a_row_with_a_defence_of_clients_by_their_updates(config, defense, options):
    """Each client's own update, and which rows of it are not zero; with every third position left as it is, of all."""
    from recbole_attack.experiment import prepare_training
    from recbole_attack.federated.memory import Memory
    from recbole_attack.federated.rounds import single_updates

    run = config(attack="margin", client_defense=defense, target_items="stratified:3", clients_per_round=12, **options)
    experiment = prepare_training(run)
    trainer, data = experiment.trainer(run), experiment.train_data
    users, targets = data.trainable_users[:12], experiment.threat.targets
    before = trainer.model.item_embedding.weight.detach() + 1
    groups = trainer.client_side.grouping(data, 0, before)(users, users[:0])
    updates, _ = single_updates(trainer.model, groups, run, Memory())
    touched = [int((updates.without_zero_rows().item == int(item)).sum()) for item in targets]
    assert _touching(run, data, users, targets, 0).tolist() == touched
    assert (touched == [12] * 3) == (options == {"adversarial_ratio": 0.9})


def test_the_worst_share_over_targets_counts_in_the_mean_over_seeds():
    found = {(0.01, seed): Presence(5, {"i": share, "j": 0.0}) for seed, share in ((1, 0.9), (2, 0.3))}
    assert presence_flags(found, ENSEMBLE) == {
        "no honest majority": "at 1.00 %, item i: in 60.00 % of the attacked rounds"
    }
    found[0.01, 2] = Presence(5, {"i": 0.0, "j": 0.0})
    assert presence_flags(found, ENSEMBLE) == {}


def test_flags_of_the_measurement_block_and_those_of_the_setting_inform():
    assert blocking(FLAGS) == [
        *("random", "order", "weak victim", "masked", "starved", "never asked", "no honest majority"),
        *("does not say", "not measured"),
    ]
