"""RecBole's own models on our split: what they are, what they are trained on, and that their numbers are RecBole's."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.model.abstract_recommender import GeneralRecommender
from recbole.model.sequential_recommender import BERT4Rec, GRU4Rec, SASRec
from recbole.utils import ModelType, get_model, get_trainer, init_seed

from recbole_attack import AttackConfig, load_data_and_model, run_recbole_attack
from recbole_attack.experiment import prepare
from recbole_attack.model import RECBOLE_MODELS
from recbole_attack.utils.errors import ConfigError, DataError, TrainingError

DATASETS = Path(__file__).resolve().parents[2] / "dataset"
SMALL = {
    "data_path": str(DATASETS),
    "dataset": "tiny",
    "scenario": "recbole",
    "epochs": 2,
    "MAX_ITEM_LIST_LENGTH": 12,
    "show_progress": False,
    "target_items": ["i22", "i3"],
}


QUICK = {name: {"hidden_size": 8, "inner_size": 16} for name in ("SASRec", "BERT4Rec")}
"""What makes the slowest models small."""


def settings(model, **changes):
    return AttackConfig(model, config_dict={**SMALL, **changes})


def clean(model, saved=False, **changes):
    """The outcome of the clean arm."""
    (run,) = prepare(settings(model, **QUICK.get(model, {}), **changes)).arms().values()
    return run(Path("run"), saved, False)


def rows(loader):
    """User -> (item to predict, number of items before it)."""
    found = loader._dataset.inter_feat.interaction
    columns = (found[key].tolist() for key in ("user_id", "item_id", "history_length"))
    return {user: (item, history) for user, item, history in zip(*columns, strict=True)}


# The same split, users and targets


@pytest.mark.parametrize("model", ["BPR", "Pop", "FPMC"])
@pytest.mark.parametrize("changes", [{}, {"malicious_clients": "compromise", "malicious_ratio": 0.2}], ids=str)
def test_users_items_and_targets_are_those_of_the_federated_scenario(model, changes):
    ours, federated = (
        prepare(AttackConfig(name, config_dict={**SMALL, **given, **changes}))
        for name, given in ((model, {}), ("SASRec", {"scenario": "federated", "attack": "ra"}))
    )
    assert rows(ours.test_data) == rows(federated.test_data) and rows(ours.valid_data) == rows(federated.valid_data)
    honest = 60 - len(federated.threat.dishonest_users)
    assert len(rows(ours.test_data)) <= honest and (honest < 60) == bool(changes)
    assert np.array_equal(ours.threat.targets, federated.threat.targets)
    assert ours.describe_data() == federated.describe_data()
    assert ours.describe_threat()["target_items"] == federated.describe_threat()["target_items"]


@pytest.mark.parametrize("model", ["LightGCN", "GRU4Rec"])
def test_a_model_knows_the_training_interactions_alone(model):
    experiment = prepare(settings(model))
    split = experiment.dataset.split
    matrix = experiment.train_data._dataset.inter_matrix(form="csr").toarray()
    shortest = 1 if model == "LightGCN" else 2  # a user's only interaction makes no row of history and next item
    expected = np.zeros(matrix.shape)
    for user in range(1, len(matrix)):
        items = split.train[user].tolist()
        for item in items if len(items) >= shortest else []:
            expected[user, item] += 1
    assert np.array_equal(matrix, expected)
    held_out = [(u, split.full[u][-1]) for u in split.test.users]
    assert not all(expected[u, i] for u, i in held_out)


# The models


@pytest.mark.parametrize("host", [SASRec, GRU4Rec, BERT4Rec], ids=lambda m: m.__name__)
def test_models_of_our_names_are_recboles_with_recboles_parameters(host):
    config = settings(host.__name__)
    assert config.model_class is host and type(prepare(config).model(config)) is host
    plain = plain_config(host.__name__)
    for key in ("loss_type", "transform", "hidden_size", "n_layers", "hidden_dropout_prob", "dropout_prob", "ft_ratio"):
        assert config[key] == plain[key], key


@pytest.mark.parametrize(
    "key", ["epochs", "learning_rate", "train_batch_size", "stopping_step", "learner", "weight_decay"]
)
def test_training_parameters_are_recboles(key):
    given = {k: v for k, v in SMALL.items() if k != "epochs"}
    for model in ("BPR", "SASRec"):
        assert AttackConfig(model, config_dict=given)[key] == plain_config(model, given)[key]


def test_negatives_are_recboles_default_and_none_where_the_loss_takes_all_items():
    uniform = {"distribution": "uniform", "sample_num": 1, "alpha": 1.0, "dynamic": False, "candidate_num": 0}
    assert settings("BPR")["train_neg_sample_args"] == uniform == settings("FPMC")["train_neg_sample_args"]
    for model in ("SASRec", "Pop", "ItemKNN"):
        assert settings(model)["train_neg_sample_args"]["distribution"] == "none"
    assert settings("SASRec", loss_type="BPR")["train_neg_sample_args"] == uniform
    for model, given, expected in (("BPR", {"sample_num": 3}, {**uniform, "sample_num": 3}), ("Pop", {}, uniform)):
        config = settings(model, train_neg_sample_args=given)
        assert config["train_neg_sample_args"] == expected == config.replace(seed=1)["train_neg_sample_args"]


def test_more_negatives_are_more_rows():
    batches = [
        next(iter(prepare(settings("BPR", train_neg_sample_args=args, train_batch_size=9999)).train_data))
        for args in ({"sample_num": 1}, {"sample_num": 3, "distribution": "popularity"})
    ]
    positives = len(prepare(settings("BPR")).train_data._dataset)
    assert [len(batch) for batch in batches] == [positives, 3 * positives]
    dataset = prepare(settings("BPR")).dataset
    owned = {(u, i) for u in range(1, dataset.user_num) for i in dataset.split.train[u].tolist()}
    for batch in batches:
        drawn = set(zip(batch["user_id"].tolist(), batch["neg_item_id"].tolist(), strict=True))
        assert not drawn & owned


@pytest.mark.parametrize("model", RECBOLE_MODELS)
def test_a_configuration_is_the_same_again_when_read_back(model):
    config = settings(model)
    again = AttackConfig(config_dict=config.to_dict())
    assert again.model_class is config.model_class and again.to_dict() == config.to_dict()
    assert config.replace(seed=7).replace(seed=config["seed"]).to_dict() == config.to_dict()


# RecBole's numbers


def plain_config(model, given=SMALL):
    """RecBole's own configuration of the same run."""

    class Plain(Config):
        def compatibility_settings(self):
            """NumPy 2 has none of the names RecBole puts back; ours did so already."""

        def _load_cmd_line(self):
            return {}

    own = {k: v for k, v in given.items() if k not in ("scenario", "target_items", "mask_history")}
    evaluation = {"split": {"LS": "valid_and_test"}, "order": "TO", "group_by": "user", "mode": "full"}
    columns = {"inter": ["user_id", "item_id", "timestamp"]}
    kind = get_model(model)
    takes_all = kind.type == ModelType.SEQUENTIAL and not hasattr(kind, "input_type")
    negatives = {"train_neg_sample_args": None} if takes_all or kind.type == ModelType.TRADITIONAL else {}
    return Plain(
        model, config_dict={**own, "eval_args": evaluation, "load_col": columns, "use_gpu": False, **negatives}
    )


@pytest.fixture
def blocks(tmp_path):
    """Users one after the other in time and of at least 5 items: there RecBole's split is ours, in the same order."""
    folder = tmp_path / "data" / "blocks"
    folder.mkdir(parents=True)
    rng, lines = np.random.default_rng(0), ["user_id:token\titem_id:token\ttimestamp:float"]
    for user in range(30):
        items = rng.permutation(25)[: rng.integers(5, 12)]
        lines += [f"u{user}\ti{item}\t{1000 * user + t}" for t, item in enumerate(items)]
    (folder / "blocks.inter").write_text("\n".join(lines) + "\n")
    common = {"metrics": ["Hit", "NDCG"], "topk": [5, 10], "valid_metric": "NDCG@10", "metric_decimal_place": 6}
    place = {"data_path": str(tmp_path / "data"), "dataset": "blocks", "target_items": ["i1"]}
    return {**SMALL, **place, **common, "epochs": 3, "train_batch_size": 32, "eval_batch_size": 64, "stopping_step": 1}


@pytest.mark.parametrize(
    "model", ["Pop", "ItemKNN", "BPR", "NeuMF", "MultiVAE", "RecVAE", "FPMC", "GRU4Rec", "SASRec", "BERT4Rec", "SHAN"]
)
def test_recboles_own_pipeline_gives_the_same_losses_and_metrics(blocks, model):
    """Bit by bit. RecBole masks the history for general models, and for sequential ones it does not."""
    general = get_model(model).type != ModelType.SEQUENTIAL
    given = {**blocks, **QUICK.get(model, {}), "mask_history": general}
    (run,) = prepare(AttackConfig(model, config_dict=given)).arms().values()
    ours = run(Path("ours"), False, False)
    # RecBole's Pop counts an item once a batch: right when a batch is a row.
    config = plain_config(model, {**given, "train_batch_size": 1} if model == "Pop" else given)
    train, valid, test = data_preparation(config, create_dataset(config))
    init_seed(config["seed"], config["reproducibility"])
    recboles = get_trainer(config["MODEL_TYPE"], model)(config, get_model(model)(config, train._dataset))
    score, best = recboles.fit(train, valid, saved=False, verbose=False)
    losses = [loss / len(train) for loss in recboles.train_loss_dict.values()]
    assert [record["train_loss"] for record in ours.history] == pytest.approx(losses, rel=1e-12)
    assert ours.best_valid_score == score and ours.best_valid_result == dict(best)
    assert ours.test_result == dict(recboles.evaluate(test, load_best_model=False))


def test_the_most_popular_items_hit_as_often_as_a_slow_count_says():
    experiment = prepare(settings("Pop", topk=[5, 10]))
    result = clean("Pop", topk=[5, 10]).test_result
    split, n_items = experiment.dataset.split, experiment.dataset.item_num
    counts = [sum(int(i == item) for i in split.train.items) for item in range(n_items)]
    for k in (5, 10):
        hits, certain = 0, 0
        for user in split.test.users:
            *before, truth = split.full[user].tolist()
            others = [i for i in range(1, n_items) if i not in before and i != truth]
            above = sum(counts[i] > counts[truth] for i in others)
            level = sum(counts[i] == counts[truth] for i in others)
            hits += above + level < k  # in the list however ties are broken
            certain += above < k <= above + level  # in it or not, as ties are broken
        users = len(split.test.users)
        assert hits / users <= result[f"hit@{k}"] + 1e-6 and result[f"hit@{k}"] <= (hits + certain) / users + 1e-6
        assert hits > 0


def test_without_ties_the_slow_count_is_exact(tmp_path):
    """Item i is had by users 0 to 2i + 1 before their last two items, so that no two items are equally popular."""
    folder = tmp_path / "data" / "ladder"
    folder.mkdir(parents=True)
    rng, lines = np.random.default_rng(1), ["user_id:token\titem_id:token\ttimestamp:float"]
    histories = [[i for i in range(12) if user <= 2 * i + 1] for user in range(24)]
    for user, items in enumerate(histories):
        histories[user] = [*(items if len(items) > 1 else 2 * items), *rng.permutation(12)[:2].tolist()]
        lines += [f"u{user}\ti{item}\t{time}" for time, item in enumerate(histories[user])]
    (folder / "ladder.inter").write_text("\n".join(lines) + "\n")
    place = {"data_path": str(tmp_path / "data"), "dataset": "ladder", "target_items": ["i0"], "mask_history": True}
    result = clean("Pop", **place, topk=[3], metrics=["Hit", "NDCG"], valid_metric="NDCG@3").test_result
    counts = [sum(items[:-2].count(i) for items in histories) for i in range(12)]
    assert len(set(counts)) == 12
    ranks = []
    for *before, truth in histories:
        others = [i for i in range(12) if i not in before and i != truth]
        ranks.append(1 + sum(counts[i] > counts[truth] for i in others))
    assert result["hit@3"] == pytest.approx(np.mean([rank <= 3 for rank in ranks]), abs=1e-6)
    assert result["ndcg@3"] == pytest.approx(np.mean([1 / np.log2(r + 1) if r <= 3 else 0 for r in ranks]), abs=1e-6)


@pytest.mark.parametrize("model", ["BPR", "EASE", "NeuMF", "GRU4Rec"])
@pytest.mark.parametrize("masked", [True, False])
def test_exposure_is_the_literal_count_of_lists_that_hold_a_target(model, masked):
    experiment = prepare(settings(model, mask_history=masked, topk=[5], valid_metric="NDCG@5"))
    trainer = experiment.trainer(experiment.config)
    trainer.fit(experiment.train_data, experiment.valid_data, saved=False, verbose=False)
    result = trainer.evaluate(experiment.test_data, load_best_model=False)
    split, targets = experiment.dataset.split, experiment.threat.targets.tolist()
    batch = experiment.test_data._dataset[:]
    n_items, trainer.model = experiment.dataset.item_num, trainer.model.eval()
    shares = {target: [] for target in targets}
    with torch.no_grad():
        for row, user in enumerate(batch["user_id"].tolist()):
            every = batch[[row] * n_items]
            every.update(type(batch)({"item_id": torch.arange(n_items)}))
            scores = trainer.model.predict(every).tolist()  # one item at a time, where the trainer ranks all at once
            *before, truth = split.full[user].tolist()
            listed = [i for i in range(1, n_items) if i == truth or not (masked and i in before)]
            top = sorted(listed, key=lambda item: -scores[item])[:5]
            for target in targets:
                if target not in split.full[user]:
                    shares[target].append(target in top)
    expected = np.mean([np.mean(seen) for seen in shares.values()])
    assert result["er@5"] == pytest.approx(expected, abs=1e-6)


# Seeds, checkpoints, interruptions


@pytest.mark.parametrize("model", ["ItemKNN", "LightGCN", "SASRec", "BERT4Rec"])
def test_the_same_seed_gives_the_same_run_and_another_seed_another(model):
    first, second, other = clean(model), clean(model), clean(model, seed=1)

    def without_time(outcome):
        return [{k: v for k, v in record.items() if k != "seconds"} for record in outcome.history]

    assert without_time(first) == without_time(second) and first.report() == second.report()
    assert (without_time(first) != without_time(other)) == (model != "ItemKNN")


def test_an_experiment_can_be_run_twice():
    experiment = prepare(settings("BPR"))
    (run,) = experiment.arms().values()
    before = run(Path("a"), False, False)
    init_seed(99, True)
    assert run(Path("b"), False, False).report() == before.report()


@pytest.mark.parametrize("model", ["Pop", "ItemKNN", "LightGCN", "DMF", "MultiVAE", "BERT4Rec"])
def test_the_best_model_is_tested_and_can_be_loaded_again(model, tmp_path):
    result = run_recbole_attack(
        model, config_dict={**SMALL, **QUICK.get(model, {}), "epochs": 3, "learning_rate": 0.05}
    )
    folder = Path(result["result_file"]).parent
    record = json.loads((folder / "result.json").read_text())
    best = record["history"]["clean"][record["clean"]["tested_epoch"]]
    assert record["clean"]["best_valid_result"].items() <= best.items()
    assert best["ndcg@10"] == max(epoch["ndcg@10"] for epoch in record["history"]["clean"])
    config, loaded, _, _, valid, test = load_data_and_model(str(folder / "clean" / f"{model}.pth"))
    experiment = prepare(config)
    trainer = experiment.trainer(config.replace(checkpoint_dir=str(tmp_path / "again")))
    trainer.model = loaded
    assert trainer.evaluate(test, load_best_model=False) == record["clean"]["test_result"]
    assert trainer.evaluate(valid, load_best_model=False) == record["clean"]["best_valid_result"]


def test_an_interrupted_run_ends_as_if_it_had_not_been(monkeypatch):
    given = {**SMALL, "epochs": 4}
    whole = run_recbole_attack("MultiVAE", config_dict=given)
    from recbole_attack.trainer.recbole_trainer import RecBoleTrainer

    with monkeypatch.context() as patch:
        ended = RecBoleTrainer._finish_epoch

        def interrupt(self, record, *arguments, **keywords):
            ended(self, record, *arguments, **keywords)
            if record["epoch"] == 1:
                raise KeyboardInterrupt

        patch.setattr(RecBoleTrainer, "_finish_epoch", interrupt)
        with pytest.raises(KeyboardInterrupt, match="continue with --resume=") as stopped:
            run_recbole_attack("MultiVAE", config_dict=given)
    resumed = run_recbole_attack(resume=str(stopped.value).split("--resume=")[1])
    assert resumed["test_result"] == whole["test_result"] and resumed["clean"] == whole["clean"]


def test_models_without_gradients_are_evaluated_whatever_the_step():
    assert settings("Pop", epochs=9)["epochs"] == 1
    outcome = clean("Pop", saved=True, eval_step=5, epochs=9)
    assert len(outcome.history) == 1 and outcome.tested_epoch == 0 and outcome.best_valid_result


@pytest.mark.parametrize("model", ["BPR", "FPMC"])
def test_without_validation_rows_the_last_model_is_tested(model):
    outcome = clean(model, saved=True, eval_args={"split": {"LS": "test_only"}}, epochs=3)
    assert outcome.best_valid_result is None and outcome.tested_epoch == 2
    last = outcome.history[-1]
    assert outcome.test_result == {key: last[key] for key in outcome.test_result}


def test_negatives_can_be_the_hardest_of_several():
    """DNS: of the candidates the one with the highest score, so the loss is higher than with any of them."""
    args = {"dynamic": True, "candidate_num": 8}
    hard, easy = (clean("BPR", train_neg_sample_args=a, learning_rate=0.05).history for a in (args, {}))
    assert hard[0]["train_loss"] > easy[0]["train_loss"]


def test_a_run_that_diverges_says_so():
    with pytest.raises(TrainingError, match="diverged"):
        clean("BPR", learner="sgd", learning_rate=1e30, epochs=5)


# The record


def test_the_record_has_the_form_of_the_central_scenarios(tmp_path):
    texts = {}
    for scenario, model in (("recbole", "ItemKNN"), ("central", "SASRec")):
        given = {**SMALL, **QUICK.get(model, {}), "scenario": scenario, "checkpoint_dir": str(tmp_path / scenario)}
        result = run_recbole_attack(model, config_dict=given)
        texts[scenario] = json.loads(Path(result["result_file"]).read_text())
    ours, central = texts["recbole"], texts["central"]
    assert ours.keys() == central.keys()
    for key in ("budget", "dataset", "timing", "environment", "clean", "history"):
        assert ours[key].keys() == central[key].keys(), key
    assert ours["clean"]["test_result"].keys() == central["clean"]["test_result"].keys() >= {"er@10", "hit@10"}
    assert ours["attacked"] is None and ours["delta"] is None and ours["failed"] is None
    assert ours["history"]["clean"][0].keys() == central["history"]["clean"][0].keys()
    for key in ("budget", "dataset"):
        assert ours[key] == central[key]


def test_sampled_candidates_are_those_of_the_other_scenarios():
    outcome = clean("EASE", exposure_candidates=10)
    assert outcome.test_result_full is not None and outcome.test_result_full != outcome.test_result


# Refusals


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("DeepFM", "needs labelled rows with features of users and items, .* expected one of .*BPR"),
        ("XGBoost", "needs labelled rows with features"),
        ("KGAT", "needs a knowledge graph"),
        ("SASRecF", r"needs side inputs \(selected_features\).*did you mean 'SASRec'\?"),
        ("DIN", "needs labels, or features"),
        ("RaCT", r"needs a training loop of its own \(RaCTTrainer\)"),
        ("bpr", "unknown model 'bpr'.*did you mean 'BPR'?"),
        ("LightGNC", "did you mean 'LightGCN'?"),
        ("PromptSASRec", "unknown model 'PromptSASRec'"),
        (3, "model must be a name or a class"),
        (object, "model must be a name or a class"),
    ],
    ids=str,
)
def test_other_models_are_refused_with_what_they_need(model, words):
    with pytest.raises(ConfigError, match=words) as error:
        settings(model)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("attack", ["eb", "dvfsr", "bra"])
def test_there_is_no_client_and_no_provider_to_attack(attack):
    home = "pretrain" if attack == "bra" else "federated"
    with pytest.raises(ConfigError, match=f"attack '{attack}': expected scenario '{home}', found 'recbole'"):
        settings("BPR", attack=attack)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"train_neg_sample_args": {"sample_num": 0}},
            "train_neg_sample_args sample_num must be an integer at least 1",
        ),
        ({"train_neg_sample_args": {"distribution": "unifrom"}}, "did you mean 'uniform'"),
        ({"train_neg_sample_args": {"samples": 2}}, "part of train_neg_sample_args"),
        ({"train_neg_sample_args": 3}, "train_neg_sample_args must be a mapping"),
        ({"train_neg_sample_args": {"dynamic": True}}, "dynamic needs candidate_num"),
        ({"reg_weight": -1.0, "model": "LightGCN"}, "reg_weight must be a number at least 0"),
        ({"reg_weight": [0.1, "x"], "model": "HGN"}, "reg_weight must be"),
        ({"model": "SASRec", "train_neg_sample_args": {"sample_num": 1}}, "should be None when the loss_type is CE"),
        ({"eval_args": {"split": {"RS": [0.8, 0.1, 0.1]}}}, "eval_args split must be"),
        ({"transform": "no_such_thing"}, "no transform named 'no_such_thing'"),
        ({"model": "SASRec", "loss_type": "BCE"}, "unknown loss_type 'BCE': expected one of CE, BPR"),
        ({"lr_decay_step": 3}, "lr_decay_step: RecBole's trainer has no schedule: expected null, found 3"),
        ({"embedding_size": "x"}, "embedding_size must be int"),
        ({"clients": 3}, "unknown parameter 'clients'"),
    ],
    ids=str,
)
def test_bad_parameters_are_refused_before_anything_is_written(changes, words, tmp_path):
    given = {**SMALL, "model": "BPR", "checkpoint_dir": str(tmp_path / "saved"), **changes}
    with pytest.raises(ConfigError, match=words) as error:
        run_recbole_attack(config_dict=given)
    assert "\n" not in str(error.value) and not (tmp_path / "saved").exists()


@pytest.mark.parametrize(
    ("model", "changes", "words"),
    [
        ("GRU4RecCPR", {}, "model 'GRU4RecCPR' cannot be trained with this configuration and dataset: RuntimeError"),
        ("SASRec", {"hidden_act": "nonesuch"}, "hidden_act"),
        ("BPR", {"train_neg_sample_args": None}, "model 'BPR' cannot be trained"),
    ],
    ids=str,
)
def test_what_a_model_cannot_do_is_one_line_and_leaves_no_folder(model, changes, words, tmp_path):
    given = {**SMALL, "checkpoint_dir": str(tmp_path / "saved"), **changes}
    with pytest.raises(ConfigError, match=words) as error:
        run_recbole_attack(model, config_dict=given)
    assert "\n" not in str(error.value) and not list((tmp_path / "saved").glob("*"))


def test_a_user_who_had_everything_leaves_no_negatives(tmp_path):
    folder = tmp_path / "data" / "full"
    folder.mkdir(parents=True)
    lines = ["user_id:token\titem_id:token\ttimestamp:float"]
    lines += [f"u{user}\ti{item}\t{item}" for user in range(3) for item in range(5 + user)]
    (folder / "full.inter").write_text("\n".join(lines) + "\n")
    with pytest.raises(DataError, match="interacted with all items"):
        settings_ = settings("BPR", data_path=str(tmp_path / "data"), dataset="full", target_items=["i6"])
        prepare(settings_)


def test_a_class_of_recboles_kind_is_taken_as_it_is():
    class Constant(GeneralRecommender):
        """Everybody is recommended items in order of their ids."""

        input_type = RECBOLE_MODELS["BPR"].input_type

        def __init__(self, config, dataset):
            super().__init__(config, dataset)
            self.weight = torch.nn.Parameter(torch.zeros(1))

        def calculate_loss(self, interaction):
            return self.weight.sum()

        def full_sort_predict(self, interaction):
            return -torch.arange(self.n_items).repeat(len(interaction), 1).double()

    assert settings(Constant)["model"] == "Constant"
    split = prepare(settings(Constant)).dataset.split
    hits = []
    for user in split.test.users:
        *before, truth = split.full[user].tolist()
        hits.append(sum(i not in before for i in range(1, truth)) < 10)
    assert clean(Constant).test_result["hit@10"] == pytest.approx(np.mean(hits), abs=1e-6)
