"""Fake users in the log of RecBole's own models: what a model is trained on, and that nothing else differs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.utils import get_model, get_trainer, init_seed

from recbole_attack import AttackConfig, load_data_and_model, run_recbole_attack
from recbole_attack.attack import PROFILES
from recbole_attack.experiment import prepare
from recbole_attack.report.record import check_record
from recbole_attack.report.words import caption
from recbole_attack.utils.errors import ConfigError, DataError
from recbole_attack.utils.files import plain

DATASETS = Path(__file__).resolve().parents[2] / "dataset"
SMALL = {
    "data_path": str(DATASETS),
    "dataset": "tiny",
    "scenario": "recbole",
    "attack": "bandwagon",
    "malicious_ratio": 0.1,
    "epochs": 2,
    "MAX_ITEM_LIST_LENGTH": 12,
    "show_progress": False,
    "target_items": ["i22", "i3"],
}
QUICK = {name: {"hidden_size": 8, "inner_size": 16} for name in ("SASRec", "BERT4Rec")}


def settings(model, **changes):
    return AttackConfig(model, config_dict={**SMALL, **QUICK.get(model, {}), **changes})


def outcomes(model, **changes):
    """Arm -> its report and losses, without times."""
    arms = prepare(settings(model, **changes)).arms()
    found = {name: run(Path("run") / name, False, False) for name, run in arms.items()}
    return {name: {**plain(of.report()), "losses": [e["train_loss"] for e in of.history]} for name, of in found.items()}


def columns(loader):
    return {key: values.tolist() for key, values in loader._dataset.inter_feat.interaction.items()}


# What is the same in both arms


@pytest.mark.parametrize("model", ["Pop", "BPR", "LightGCN", "MultiVAE", "SASRec", "FPMC"])
def test_without_fake_users_the_attacked_arm_is_the_clean_one_bit_by_bit(model):
    arms = outcomes(model, malicious_ratio=0.0)
    assert arms["attacked"] == arms["clean"] != {}


@pytest.mark.parametrize("model", ["BPR", "GRU4Rec"])
def test_the_clean_arm_is_that_of_a_run_without_an_attack(model):
    arms = outcomes(model)
    assert outcomes(model, attack="none")["clean"] == arms["clean"] != arms["attacked"]


@pytest.mark.parametrize("attack", PROFILES)
@pytest.mark.parametrize("model", ["Pop", "SASRec"])
def test_real_users_are_trained_and_evaluated_on_as_without_an_attack(model, attack):
    plainly, ours = prepare(settings(model, attack="none")), prepare(settings(model, attack=attack))
    for part in ("train_data", "valid_data", "test_data"):
        assert columns(getattr(ours, part)) == columns(getattr(plainly, part))
    assert ours.describe_data() == plainly.describe_data() and ours.dataset.user_num == 61
    assert np.array_equal(ours.threat.targets, plainly.threat.targets)
    real, poisoned = columns(ours.train_data), columns(ours.poisoned_data)
    number = len(real["user_id"])
    assert {key: values[:number] for key, values in poisoned.items()} == real
    assert min(poisoned["user_id"][number:]) == 61 and max(poisoned["user_id"]) == 66
    assert max(columns(ours.test_data)["user_id"]) <= 60 and max(columns(ours.valid_data)["user_id"]) <= 60


def test_the_rows_of_a_sequential_model_are_the_positions_of_fake_histories():
    experiment = prepare(settings("GRU4Rec", MAX_ITEM_LIST_LENGTH=4))
    expected = []
    for user, items in enumerate(experiment.poison.sequences[user].tolist() for user in range(1, 7)):
        for place in range(1, len(items)):
            before = items[max(0, place - 4) : place]
            expected.append((61 + user, items[place], [*before, *[0] * (4 - len(before))], len(before)))
    found = columns(experiment.poisoned_data)
    names = ("user_id", "item_id", "item_id_list", "item_length")
    rows = list(zip(*(found[name] for name in names), strict=True))
    assert rows[-len(expected) :] == expected and len(expected) > 20
    assert len(rows) == len(expected) + len(columns(experiment.train_data)["user_id"])


# Who they are


@pytest.mark.parametrize("ratio", [0.02, 0.1, 1.0])
def test_so_many_fake_users_as_the_share_says_are_as_long_as_real_users(ratio):
    experiment = prepare(settings("Pop", malicious_ratio=ratio))
    real = experiment.dataset.split.train
    distinct = [len({*real[user].tolist()}) for user in experiment.threat.malicious_users]
    assert experiment.poison.sequences.lengths.tolist() == [0, *(max(number, 2) for number in distinct)]
    assert len(distinct) == max(1, int(60 * ratio)) or ratio == 1.0
    budget = experiment.describe_threat()
    assert budget["fake_users"] == len(distinct) and budget["malicious_share"] == len(distinct) / 60
    assert budget["fake_interactions"] == sum(max(number, 2) for number in distinct)


def test_a_size_is_the_same_for_all():
    lengths = prepare(settings("Pop", profile_size=7)).poison.sequences.lengths
    assert lengths.tolist() == [0, *[7] * 6]


def test_the_seed_draws_profiles_and_the_seed_of_the_malicious_lengths():
    def drawn(**changes):
        fakes = prepare(settings("Pop", **changes)).poison.sequences
        return fakes.lengths.tolist(), fakes.items.tolist()

    assert drawn() == drawn() and drawn(malicious_seed=2020) == drawn()
    assert drawn(malicious_seed=1)[0] != drawn()[0] and drawn(seed=1) != drawn()
    assert drawn(seed=1, malicious_seed=2020)[0] == drawn()[0]
    assert drawn(seed=1, profile_size=5)[1] != drawn(profile_size=5)[1] == drawn(profile_size=5, malicious_seed=1)[1]


# What models make of it: counts and closed forms on a log that was poisoned by hand


def poisoned_log(folder, experiment):
    """``[users, items]`` counts: the real training log, and what ``fake_users.inter`` says."""
    dataset, train = experiment.dataset, experiment.dataset.split.train
    fakes = [line.split("\t") for line in (folder / "attacked" / "fake_users.inter").read_text().splitlines()[1:]]
    names = list(dict.fromkeys(user for user, _, _ in fakes))
    counts = np.zeros((dataset.user_num + len(names), dataset.item_num))
    for user in range(1, dataset.user_num):
        for item in train[user].tolist():
            counts[user, item] += 1
    for user, item, _ in fakes:
        counts[dataset.user_num + names.index(user), dataset.token2id("item_id", item)] += 1
    return counts


def run_and_load(model, **changes):
    """Log as a table, the attacked arm's model, the experiment and the record."""
    result = run_recbole_attack(model, config_dict={**SMALL, **QUICK.get(model, {}), **changes})
    folder = Path(result["result_file"]).parent
    config, loaded, *_ = load_data_and_model(str(folder / "attacked" / f"{model}.pth"))
    experiment = prepare(config)
    record = json.loads(Path(result["result_file"]).read_text())
    return poisoned_log(folder, experiment), loaded, experiment, record


def scores(model, experiment):
    """``[users, items]`` of test users."""
    batch = experiment.test_data._dataset[:]
    with torch.no_grad():
        return batch["user_id"].tolist(), model.eval().full_sort_predict(batch).view(len(batch), -1).double().numpy()


@pytest.mark.parametrize("attack", PROFILES)
def test_the_most_popular_items_are_counted_with_those_of_fake_users(attack):
    log, model, experiment, record = run_and_load("Pop", attack=attack, profile_size=8, topk=[5], valid_metric="NDCG@5")
    counts = log.sum(axis=0)
    assert model.item_cnt.flatten().tolist() == counts.tolist()
    targets, before = experiment.threat.targets.tolist(), experiment.dataset.split.train.popularity()
    assert [counts[t] - before[t] for t in targets] == [6, 6]
    assert counts.sum() - before.sum() == record["budget"]["fake_interactions"]
    low, high = [], []
    for target in targets:
        sure, possible, eligible = 0, 0, 0
        for user in experiment.dataset.split.test.users:
            *before, truth = experiment.dataset.split.full[user].tolist()
            if target in (*before, truth):
                continue
            others = [i for i in range(1, len(counts)) if i == truth or i not in (*before, target)]
            above = sum(counts[i] > counts[target] for i in others)
            level = sum(counts[i] == counts[target] for i in others)
            eligible, sure, possible = eligible + 1, sure + (above + level < 5), possible + (above < 5)
        low.append(sure / eligible)
        high.append(possible / eligible)
    exposure = record["attacked"]["test_result"]["er@5"]
    assert np.mean(low) - 1e-6 <= exposure <= np.mean(high) + 1e-6
    assert exposure > record["clean"]["test_result"]["er@5"]


def test_ease_is_its_closed_form_on_the_poisoned_log():
    log, model, experiment, _ = run_and_load("EASE", attack="average", reg_weight=20.0)
    inverse = np.linalg.inv(log.T @ log + 20.0 * np.eye(log.shape[1]))
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0)
    users, found = scores(model, experiment)
    assert np.allclose(found, log[users] @ weights, atol=1e-4)
    real = log[: experiment.dataset.user_num]
    clean = np.linalg.inv(real.T @ real + 20.0 * np.eye(log.shape[1]))
    assert not np.allclose(found, log[users] @ (np.eye(len(clean)) - clean / np.diag(clean)), atol=1e-2)


def test_neighbours_of_items_are_those_of_the_poisoned_log():
    log, model, experiment, _ = run_and_load("ItemKNN", attack="segment", k=100, shrink=0.0)
    lengths = np.linalg.norm(log, axis=0)
    cosine = log.T @ log / (np.outer(lengths, lengths) + 1e-6)
    np.fill_diagonal(cosine, 0)
    users, found = scores(model, experiment)
    assert np.allclose(found, log[users] @ cosine, atol=1e-4)


@pytest.fixture
def ordered(tmp_path):
    """The first two users have every item and then two again: ids are the same whoever follows, wherever it is cut."""
    folder = tmp_path / "data" / "ordered"
    folder.mkdir(parents=True)
    rng, histories = np.random.default_rng(0), [[*range(10), 3, 8], [*range(10, 20), 12, 15]]
    histories += [rng.permutation(20)[: rng.integers(5, 12)].tolist() for _ in range(24)]
    rows = [(f"u{u}", f"i{i}", 100 * u + t) for u, items in enumerate(histories) for t, i in enumerate(items)]
    write(folder / "ordered.inter", rows)
    common = {"metrics": ["Hit", "NDCG"], "topk": [5, 10], "valid_metric": "NDCG@10", "metric_decimal_place": 6}
    place = {"data_path": str(tmp_path / "data"), "dataset": "ordered", "target_items": ["i1"], "epochs": 3}
    return folder, histories, {**SMALL, **common, **place, "train_batch_size": 32, "eval_batch_size": 64}


def write(file, rows):
    lines = ["user_id:token\titem_id:token\ttimestamp:float", *("\t".join(map(str, row)) for row in rows)]
    file.write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize("model", ["Pop", "ItemKNN", "EASE", "BPR", "NeuMF", "MultiVAE", "RecVAE"])
def test_recboles_own_pipeline_on_a_poisoned_atomic_file_gives_the_same_losses_and_metrics(ordered, model):
    """Bit by bit: its files of training, validation and test are the real log, cut, and the fake users behind it."""
    folder, histories, given = ordered
    if model == "Pop":
        given["train_batch_size"] = 1  # RecBole's own counts an item once a batch, which is mended here
    experiment = prepare(AttackConfig(model, config_dict={**given, "mask_history": True}))
    ours = experiment.arms()["attacked"](Path("ours"), False, False)
    experiment.poison.write(Path("fakes.inter"), experiment.dataset)
    fakes = [line.split("\t") for line in Path("fakes.inter").read_text().splitlines()[1:]]
    rows = {"train": [], "valid": [], "test": []}
    for user, items in enumerate(histories):
        for time, item in enumerate(items):
            left = len(items) - time
            part = {1: "test", 2: "valid"}.get(left, "train")
            rows[part].append((f"u{user}", f"i{item}", 100 * user + time))
    rows["train"] += fakes
    for part in rows:
        write(folder / f"ordered.{part}.inter", rows[part])

    class Plain(Config):
        def compatibility_settings(self):
            """NumPy 2 has none of the names RecBole puts back; ours did so already."""

        def _load_cmd_line(self):
            return {}

    own = {k: v for k, v in given.items() if k not in ("scenario", "target_items", "attack", "malicious_ratio")}
    files = {"benchmark_filename": ["train", "valid", "test"], "load_col": {"inter": ["user_id", "item_id"]}}
    evaluation = {"eval_args": {"order": "TO", "group_by": "user", "mode": "full"}, "use_gpu": False}
    counted = {"train_neg_sample_args": None} if model in ("Pop", "ItemKNN", "EASE") else {}
    config = Plain(model, config_dict={**own, **files, **evaluation, **counted})
    init_seed(config["seed"], config["reproducibility"])
    train, valid, test = data_preparation(config, create_dataset(config))
    init_seed(config["seed"], config["reproducibility"])
    trainer = get_trainer(config["MODEL_TYPE"], config["model"])(
        config, get_model(model)(config, train.dataset).to(config["device"])
    )
    trainer.fit(train, valid, saved=False, verbose=False)
    losses = [sum(loss) if isinstance(loss, tuple) else loss for loss in trainer.train_loss_dict.values()]
    assert [record["train_loss"] * len(train) for record in ours.history] == pytest.approx(losses, rel=1e-12)
    assert ours.test_result == dict(trainer.evaluate(test, load_best_model=False))


# Runs


@pytest.mark.parametrize("model", ["BPR", "LightGCN", "SASRec"])
def test_the_attacked_model_can_be_loaded_again_and_gives_the_same_numbers(model, tmp_path):
    result = run_recbole_attack(model, config_dict={**SMALL, **QUICK.get(model, {}), "learning_rate": 0.05})
    folder = Path(result["result_file"]).parent
    config, loaded, _, train, _, test = load_data_and_model(str(folder / "attacked" / f"{model}.pth"))
    assert max(columns(train)["user_id"]) == 66
    trainer = prepare(config).trainer(config.replace(checkpoint_dir=str(tmp_path / "again")))
    trainer.model = loaded
    record = json.loads((folder / "result.json").read_text())
    assert trainer.evaluate(test, load_best_model=False) == record["attacked"]["test_result"]
    assert record["attacked"]["test_result"] != record["clean"]["test_result"]
    users = np.load(folder / "attacked" / "outcomes.npz")["user"]
    assert len(users) and users.max() <= 60


def test_a_run_says_who_its_fake_users_are_and_what_they_did():
    result = run_recbole_attack("Pop", config_dict={**SMALL, "profile_size": 5})
    file = Path(result["result_file"])
    record = json.loads(file.read_text())
    check_record(record, file)
    assert "attack bandwagon: 6 fake users (10 % of the users) with 30 interactions;" in caption(record)
    assert "attacked/fake_users.inter" in record["artefacts"]
    assert not (file.parent / "clean" / "fake_users.inter").exists()
    head, *lines = (file.parent / "attacked" / "fake_users.inter").read_text().splitlines()
    assert head == "user_id:token\titem_id:token\ttimestamp:float" and len(lines) == 30
    budget = record["budget"]
    assert budget["fake_user_tokens"] == [f"fake_{number}" for number in range(1, 7)]
    assert [line.split("\t")[0] for line in lines[::5]] == budget["fake_user_tokens"]
    assert [line.split("\t")[2] for line in lines] == [*"01234"] * 6
    assert budget["knowledge"] == ["catalogue", "popularity of the items"] and budget["knowledge_level"] == "K1"
    drawn = prepare(settings("Pop")).describe_threat()
    assert drawn["knowledge"] == ["catalogue", "lengths of real histories", "popularity of the items"]


def test_an_interrupted_run_ends_as_if_it_had_not_been(monkeypatch):
    given = {**SMALL, "epochs": 3}
    whole = run_recbole_attack("MultiVAE", config_dict=given)
    from recbole_attack.trainer.recbole_trainer import RecBoleTrainer

    with monkeypatch.context() as patch:
        ended = RecBoleTrainer._finish_epoch

        def interrupt(self, record, *arguments, **keywords):
            ended(self, record, *arguments, **keywords)
            if record["epoch"] == 1 and self.label == "attacked":
                raise KeyboardInterrupt

        patch.setattr(RecBoleTrainer, "_finish_epoch", interrupt)
        with pytest.raises(KeyboardInterrupt, match="continue with --resume=") as stopped:
            run_recbole_attack("MultiVAE", config_dict=given)
    folder = Path(str(stopped.value).split("--resume=")[1])
    before = (folder / "attacked" / "fake_users.inter").read_text()
    resumed = run_recbole_attack(resume=str(folder))
    assert resumed["attacked"] == whole["attacked"] and resumed["clean"] == whole["clean"]
    assert (folder / "attacked" / "fake_users.inter").read_text() == before


def test_the_field_of_categories_is_loaded_and_items_stay_the_same(tmp_path):
    folder = tmp_path / "data" / "shop"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    rows = [(f"u{u}", f"i{i}", t) for u in range(12) for t, i in enumerate(rng.permutation(20)[:8])]
    write(folder / "shop.inter", rows)
    kinds = ["item_id:token\tkind:token", *(f"i{i}\t{'ab'[i % 2]}" for i in range(20))]
    (folder / "shop.item").write_text("\n".join(kinds) + "\n")
    place = {"data_path": str(tmp_path / "data"), "dataset": "shop", "target_items": ["i4"], "malicious_ratio": 0.5}
    experiment = prepare(settings("BPR", attack="segment", category_field="kind", profile_size=6, **place))
    tokens = experiment.dataset.tokens("item_id", experiment.poison.sequences.items)
    assert len(tokens) == 36 and all(int(token[1:]) % 2 == 0 for token in tokens)
    assert experiment.describe_threat()["knowledge"] == ["catalogue", "categories of the items"]
    arms = outcomes("BPR", attack="segment", category_field="kind", profile_size=6, **place)
    assert arms["clean"] != arms["attacked"]


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"malicious_clients": "compromise"}, ConfigError, "expected malicious_clients 'clone', found 'compromise'"),
        ({"profile_size": 1}, ConfigError, "profile_size must be .* at least 2"),
        ({"profile_size": 39}, DataError, "a fake user does not have: expected at most 38, found 39"),
        ({"target_items": "random:39"}, DataError, "expected fewer targets than the 39 items there are, found 39"),
        ({"segment_items": 0.1}, ConfigError, "unknown parameter 'segment_items' .*read by profile segment"),
        ({"attack": "segment", "category_field": "colour"}, DataError, "colour"),
        ({"attack": "averge"}, ConfigError, "did you mean 'average'"),
        ({"attack": "average", "scenario": "central"}, ConfigError, "expected scenario 'recbole', found 'central'"),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused_in_one_line_before_anything_is_written(changes, error, words, tmp_path):
    model = "SASRec" if "scenario" in changes else "BPR"
    with pytest.raises(error, match=words) as refused:
        run_recbole_attack(model, config_dict={**SMALL, "checkpoint_dir": str(tmp_path / "saved"), **changes})
    assert "\n" not in str(refused.value) and not list((tmp_path / "saved").glob("*"))
