"""The analyses that notes of tables speak of: what they measure is what runs and slow readings say."""

from __future__ import annotations

import importlib
from collections import Counter
from itertools import permutations, product
from pathlib import Path
from types import SimpleNamespace

import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from hypothesis import HealthCheck, given, settings

from recbole_attack import run_recbole_attack
from recbole_attack.commands.main import main as command
from recbole_attack.data.sequences import from_pairs
from recbole_attack.evaluator import Outcomes
from recbole_attack.experiment import prepare_training
from recbole_attack.utils.errors import DataError

SCRIPTS = Path(__file__).resolve().parents[2] / "analyses"


@pytest.fixture
def script(monkeypatch):
    """``script(name)``: the module."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return importlib.import_module


def test_the_model_is_served_with_what_runs_serve_it_with(script, pretrain, experiment, tmp_path):
    given = {"attack": "pea", "metrics": ["Hit", "ER_In", "ER_Out", "Invisibility"], "valid_metric": "Hit@10"}
    module = script("prompts")
    found = dict(module.served(experiment(**given), [2, 1], tmp_path))
    assert list(found) == [
        *("none", "the provider's"),
        *(f"own, {count} epochs{start}" for count in (2, 1) for start in ("", ", same start")),
    ]
    platforms = {
        "none": {"platform": "direct", "three_steps": True},
        "own, 1 epochs": {"platform": "prompt_tune"},
        "own, 2 epochs": {"platform": "prompt_tune", "prompt_tune_epochs": 2},
    }
    for name, changes in platforms.items():
        parameters = pretrain(**given, compare_clean=False, **changes)
        result = run_recbole_attack(config_dict=parameters, saved=False)["attacked"]["test_result"]
        assert np.array_equal([found[name][m] for m in module.METRICS], [result[m] for m in module.METRICS], True)
    lengths = [prompted["norm"] for prompted in found.values() if "norm" in prompted]
    assert len(lengths) == 5 and len(set(lengths)) == 5, "every line is of prompts of its own"


def test_how_far_groups_are_apart(script):
    apart = script("prompts").apart
    points = np.array([[0.0, 1.0], [0.0, -1.0], [4.0, 1.0], [4.0, -1.0]])
    inside = np.array([True, True, False, False])
    assert apart(points, inside) == apart(points, ~inside) == 4.0
    assert apart(7 * points + 3, inside) == pytest.approx(4.0), "neither scale nor place matter"
    assert apart(points, np.array([True, False, True, False])) == pytest.approx(1.0)


def test_histories_are_what_users_had(script):
    users, items = np.array([1, 1, 1, 2, 4, 4]), np.array([5, 2, 5, 3, 1, 3])
    found = script("group_from_history").histories(from_pairs(users, items, 5, 6)).toarray()
    assert {(u, i) for u, i in zip(*np.nonzero(found), strict=True)} == set(zip(users, items, strict=True))
    assert set(np.unique(found)) == {0.0, 1.0}


def test_a_group_is_told_by_an_item_it_alone_has_and_not_by_chance(script):
    module, rng = script("group_from_history"), np.random.default_rng(0)
    inside = np.arange(400) % 2 == 0
    noise = [rng.choice(np.arange(3, 30), 8, replace=False) for _ in inside]
    told = [[*row, 1 if member else 2] for row, member in zip(noise, inside, strict=True)]
    for rows, low, high in ((told, 0.99, 1.0), (noise, 0.35, 0.65)):
        users = np.repeat(np.arange(400), [len(row) for row in rows])
        aucs = module.folds(module.histories(from_pairs(users, np.concatenate(rows), 400, 30)), inside)
        assert len(aucs) == 5 and low <= np.mean(aucs) <= high


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(seed=st.integers(0, 10**6), n_users=st.integers(1, 30), targets=st.integers(1, 3), k=st.integers(1, 6))
def test_exposure_by_history_is_counted_user_by_user(script, seed, n_users, targets, k):
    module, rng = script("exposure_by_history"), np.random.default_rng(seed)
    users, lengths = 1 + rng.permutation(40)[:n_users], rng.integers(1, 60, 41)
    ranks, eligible = rng.integers(1, 9, (n_users, targets)), rng.random((n_users, targets)) < 0.6
    outcomes = Outcomes(users, rng.integers(1, 9, n_users), ranks, eligible)
    classes = [range(1, 6), range(6, 9), range(9, 13), range(13, 26), range(26, 50), range(50, 1000)]
    for (count, share), lengths_of in zip(module.by_history(outcomes, lengths, k), classes, strict=True):
        own = [row for row in range(n_users) if lengths[users[row]] in lengths_of]
        counted = [[row for row in own if eligible[row, target]] for target in range(targets)]
        shares = [
            sum(ranks[row, target] <= k for row in rows) / len(rows) for target, rows in enumerate(counted) if rows
        ]
        assert count == len(own)
        assert share == pytest.approx(sum(shares) / len(shares) if shares else float("nan"), nan_ok=True)


def test_exposure_by_history_reads_the_store_an_experiment_was_trained_in(script, small, tmp_path, capsys):
    shared = {key: value for key, value in small(epochs=2).items() if key != "checkpoint_dir"}
    rows = {"loud": {"attack": "eb", "malicious_ratio": 0.2, "gradient_scale": 50.0}, "none": {"attack": "none"}}
    grid = tmp_path / "grid.yaml"
    grid.write_text(yaml.safe_dump({"fixed": {**shared, "compare_clean": False}, "rows": rows}), encoding="utf-8")
    assert command(["grid", str(grid), f"--store={tmp_path / 'store'}", "--jobs=1"]) == 0
    capsys.readouterr()
    given = [str(grid), str(tmp_path / "store"), f"--data_path={shared['data_path']}"]
    script("exposure_by_history").main([*given, "--only=l*"])
    head, _, *found = capsys.readouterr().out.strip().splitlines()[2:]
    assert head.startswith("| row | seed | 1 to 5 | 6 to 8 |") and [line.split(" | ")[0] for line in found] == [
        "| loud"
    ]
    rows_of_data = Path(shared["data_path"], "tiny", "tiny.inter").read_text(encoding="utf-8").splitlines()
    place = rows_of_data[0].split("\t").index("user_id:token")
    counts = Counter(line.split("\t")[place] for line in rows_of_data[1:]).values()
    had = [count - 1 for count in counts if count > 2]  # who is tested and validated has something left
    users = [int(cell.rstrip(" |").partition("(")[2].rstrip(")")) for cell in found[0].split(" | ")[2:]]
    classes = [range(1, 6), range(6, 9), range(9, 13), range(13, 26), range(26, 50), range(50, 1000)]
    assert users == [sum(length in own for length in had) for own in classes]


RUNS = ["aggregator", "per_item", "attack", "upload_search_gradient", "target_items", "malicious_ratio", "seed"]


def attacked_runs(exposures):
    """``(aggregator, per_item, attack, upload, target, share, seed) -> er@10`` as the script's frame."""
    lines = [{**dict(zip(RUNS, run, strict=True)), "er@10": er, "hit@10": 0.1} for run, er in exposures.items()]
    return pd.DataFrame(lines)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_the_worst_case_is_over_what_every_rule_has_been_through(script, data):
    module = script("choosing_a_rule")
    rules = [("mean", False), ("mean", True), ("krum", False)]
    attacks = list(product(["eb", "dvfsr"], [False], ["1", "2"], [0.01, 0.001], [1, 2]))
    every = [(*rule, *attack) for rule, attack in product(rules, attacks)]
    ran = data.draw(st.lists(st.sampled_from(every), unique=True, min_size=1))
    exposures = {run: data.draw(st.floats(0, 1)) for run in ran}
    tried = {run[:2] for run in ran}
    shared = [attack for attack in attacks if all((*rule, *attack) in exposures for rule in tried)]
    frame = module.common(attacked_runs(exposures))
    assert sorted(map(tuple, frame[RUNS].to_numpy().tolist())) == sorted((*r, *a) for r, a in product(tried, shared))
    found = {(r.aggregator, r.per_item, r.malicious_ratio): r["er@10"] for _, r in module.worst(frame).iterrows()}
    expected = {}
    for rule, attack in product(tried, shared):
        place = (*rule, attack[3])
        expected[place] = max(expected.get(place, 0.0), exposures[(*rule, *attack)])
    assert found == expected


def test_a_rule_has_the_rate_that_validation_likes_best_and_the_seeds_that_attacked_rules_share(script):
    clean = pd.DataFrame(
        [
            ("mean", False, 0.01, 1, 0.3, 0.10),
            ("mean", False, 0.01, 2, 0.1, 0.20),
            ("mean", False, 0.1, 1, 0.2, 0.40),
            ("mean", True, 0.1, 1, 0.2, 0.15),
            ("mean", True, 0.01, 1, 0.1, 0.30),
            ("mean", False, 0.01, 3, 0.1, 0.50),
            ("mean", True, 0.1, 2, 0.1, 0.25),
            ("mean", True, 0.01, 3, 0.1, 0.60),
            ("krum", False, 0.1, 1, 0.2, 0.70),
            ("krum", False, 0.1, 4, 0.2, 0.80),
        ],
        columns=["aggregator", "per_item", "learning_rate", "seed", "selected_by", "hit@10"],
    )
    attacked = pd.DataFrame({"aggregator": ["mean", "mean", "mean"], "per_item": [False, True, True]})
    found = script("choosing_a_rule").tuned(clean, attacked)
    assert sorted(found["hit@10"]) == [0.10, 0.15, 0.20, 0.25, 0.70]


def test_the_page_on_rules_is_what_the_store_says(script, tmp_path, monkeypatch):
    root = SCRIPTS.parent
    monkeypatch.chdir(root)
    page = Path("docs/choosing-a-rule.md")
    places = ["experiments/choosing-a-rule", "results/store", "results/seconds-per-round.csv"]
    script("choosing_a_rule").main([*places, f"--out={tmp_path / 'page.md'}"])
    again = (tmp_path / "page.md").read_text(encoding="utf-8").replace(str(tmp_path / "page.md"), str(page))
    assert page.read_text(encoding="utf-8") == again


def test_honest_clients_push_an_item_of_nobody_down_as_its_dose_has_it(script, config):
    """Half the mean of sigma(s) h, once in V: what drawn negatives come to, and what `margin` has to match."""
    settings = config(hidden_dropout_prob=0.0, attn_dropout_prob=0.0)
    experiment = prepare_training(settings)
    data, model = experiment.train_data, experiment.trainer(settings).model.eval()
    target = 1 + int(np.argmin(data.outside.popularity[1:]))
    users = np.setdiff1d(data.trainable_users, data.sequences.owner_ids[data.sequences.items == target])
    free = data.outside.counts[users]
    weights = torch.from_numpy(data.examples[users] / data.examples[users].sum())

    def push(negatives, of_users):
        loss = model.client_losses(data.batch(users, negatives)) @ of_users.float()
        return torch.autograd.grad(loss, model.item_embedding.weight)[0][target]

    drawn = torch.stack([push(data.negatives(epoch), weights) for epoch in range(600)])
    always = np.full(len(data.sequences.items), target)
    expected = push(always, weights / torch.from_numpy(free))
    along = drawn @ expected / expected.norm()
    assert abs(along.mean() - expected.norm()) < 4 * along.std() / 600**0.5
    assert along.std() / 600**0.5 < expected.norm() / 20, "so many epochs would tell twice as much"
    states = model.encode(*(lambda items: (items, model.embed(items)))(data.batch(users, always).item_seq))
    sigma = torch.sigmoid(states @ model.item_embedding.weight[target])
    real = data.batch(users, always).pos_items != 0
    means = ((sigma * real)[..., None] * states).sum(1) / real.sum(1)[:, None]
    predicted = (weights / torch.from_numpy(free)).float() @ means / 2
    assert torch.allclose(predicted, expected, atol=1e-6)
    share = (predicted.norm() / (weights.float() @ means).norm()).item()  # the weight with which `margin` matches it
    assert script("inequality").dose(share, 1.0, data.outside.n_items - 1) == pytest.approx(1, rel=0.5)


def test_the_dose_at_which_half_are_reached(script):
    """Between a run below and one above, on the logarithm; a plain reading of two seeds."""
    module = script("inequality")
    values = [(0.5, 0.0), (2.0, 1.0), (1.0, 0.0), (4.0, 1.0)]
    setting = {"items": 9, "optimiser": "adam", "negatives": 1, "clients": 1, "claims": "the truth"}
    runs = [{**setting, "seed": i // 2, "dose": x, "er@10": y, "hit@10": 0.1} for i, (x, y) in enumerate(values)]
    found = module.thresholds(pd.DataFrame(runs))
    assert [each["dose at which er@10 is 50 %"] for each in found] == ["1, 2"]
    assert found[0]["doses tried"] == "0.5 to 4"


def test_a_run_with_a_norm_budget_is_held_against_the_one_of_its_own_strength(script, monkeypatch):
    """As long as it came out there times the norm ratio; the only other one where there is none of that strength."""
    module = script("inequality")

    def made(ratio, norm_ratio, budget=None, claims=None, target="t"):
        uploads = {"norm_ratio": norm_ratio, "malicious_weight": 0.004}
        config = {"attack": "margin", "dataset": "d", "gradient_scale": 1.0, "learner": "adam", "norm_budget": budget}
        config |= {"malicious_ratio": ratio, "claimed_interactions": claims, "target_items": target}
        arm = {"uploads": uploads, "test_result": {"er@10": 0.4}}
        history = {"attacked": [{"er@10": 0.4, "hit@10": 0.1}]}
        budget = {"malicious_clients": 1, "target_items": ["9"]}
        return {"config": config, "seed": 1, "dataset": {"items": 999}, "budget": budget, "attacked": arm} | {
            "history": history
        }

    def doses(*records):
        monkeypatch.setattr(module, "kept_runs", lambda rows, cells: [])
        store = SimpleNamespace(cells={}, records=lambda runs: {"all": records})
        return [each["dose"] for each in module.lines([], store) if each["norm_budget"]]

    short, longer, claimed = made(0.001, 2.0), made(0.01, 10.0), made(0.001, 5.0, claims="data")
    for free in permutations([short, longer, claimed]):
        held = [made(0.001, 1.0, 0.5), made(0.01, 1.0, 0.5), made(0.001, 1.0, 0.5, claims="data")]
        expected = [module.dose(0.004, 1 / ratio, 999) for ratio in (2.0, 10.0, 5.0)]
        assert doses(*free, *held) == pytest.approx(expected)
        with pytest.raises(DataError, match="expected one without beside it, or one of its malicious_ratio"):
            doses(*free, made(0.005, 1.0, 0.5))
    assert doses(short, made(0.005, 1.0, 0.5)) == pytest.approx([module.dose(0.004, 1 / 2.0, 999)])
    assert doses(short, made(0.005, 1.0, 0.5, target="u")) == []


def test_more_negatives_and_more_weight_change_the_dose_by_what_they_push(script):
    dose = script("inequality").dose
    assert dose(0.002, 1.0, 1000) == 2 * dose(0.001, 1.0, 1000) == dose(0.001, 1.0, 2000) == dose(0.001, 2.0, 1000)
    assert dose(0.001, 1.0, 1000, 4) / dose(0.001, 1.0, 1000) == pytest.approx((1 / 2) / (4 / 5))


def test_a_model_with_more_negatives_is_the_victim_with_one_and_averages_all_with_four(script, config, monkeypatch):
    module, one = script("more_negatives"), config(hidden_dropout_prob=0.0, attn_dropout_prob=0.0)
    experiment = prepare_training(one)
    data, victim = experiment.train_data, experiment.trainer(one).model.eval()
    users = data.trainable_users[:5]
    batch = data.batch(users, data.negatives(0), data.draws("masks", 0))
    monkeypatch.setitem(one.final_config_dict, "n_negatives", 1)
    model = module.SASRecMoreNegatives(one, experiment.dataset).eval()
    model.load_state_dict(victim.state_dict())
    assert torch.allclose(model.client_losses(batch), victim.client_losses(batch), atol=1e-6)

    model.n_negatives = 4
    inputs = model.loss_inputs(batch)
    assert all((items[batch.pos_items != 0] > 0).all() and items.max() < model.n_items for items in inputs[2:])
    assert len({tuple(items.flatten().tolist()) for items in inputs[2:]}) == 4
    states, table = model.encode(inputs[0], model.embed(inputs[0])), model.item_embedding.weight
    slow = torch.zeros(len(users))
    for user in range(len(users)):
        places = torch.nonzero(batch.pos_items[user]).flatten().tolist()
        for place in places:
            scores = [states[user, place] @ table[items[user, place]] for items in inputs[1:]]
            terms = [-torch.sigmoid(scores[0]).log(), *(-torch.sigmoid(-score).log() for score in scores[1:])]
            slow[user] += sum(terms) / 5 / len(places)
    assert torch.allclose(model.client_losses(batch), slow, atol=1e-5)


def test_analyses_say_what_they_lack(script, monkeypatch, tmp_path):
    grid = tmp_path / "grid.yaml"
    grid.write_text("fixed: {dataset: tiny}\ngrid: {seed: [1]}\n", encoding="utf-8")
    wrong = {
        "inequality": ([str(tmp_path / "none")], "expected attacked runs of .*, found none"),
        "more_negatives": (
            ["--data_path=x", "--only=nothing"],
            "only must fit the name of a row of .*: found 'nothing'",
        ),
    }
    for name, (words, message) in wrong.items():
        monkeypatch.setattr("sys.argv", [name, str(grid), *words])
        with pytest.raises(ValueError, match=message):
            script(name).main()
    monkeypatch.setattr("sys.argv", ["more_negatives", str(grid), "--data_path=x", "--negatives=0"])
    with pytest.raises(ValueError, match="negatives must be an integer at least 1: found 0"):
        script("more_negatives").main()
