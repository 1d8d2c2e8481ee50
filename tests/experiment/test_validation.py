"""A validation metric that cannot have a value is refused before training, and only then."""

import numpy as np
import pytest

from recbole_attack import AttackConfig
from recbole_attack.experiment import prepare
from recbole_attack.utils.errors import ConfigError, DataError

ITEMS = 8


@pytest.fixture
def owned(tmp_path):
    """A dataset of 12 users who all had item i0, and i1 but for the users named."""

    def write(spared=()):
        folder = tmp_path / "data" / "owned"
        folder.mkdir(parents=True)
        rng, lines = np.random.default_rng(0), ["user_id:token\titem_id:token\ttimestamp:float"]
        for user in range(12):
            items = [0, *([] if user in spared else [1]), *rng.permutation(np.arange(2, ITEMS))[:5]]
            lines += [f"u{user}\ti{item}\t{time}" for time, item in enumerate(rng.permutation(items))]
        (folder / "owned.inter").write_text("\n".join(lines) + "\n")
        users = [f"u{user}\t{'M' if user < 6 else 'F'}" for user in range(12)]
        (folder / "owned.user").write_text("\n".join(["user_id:token\tgender:token", *users]) + "\n")
        return {"data_path": str(tmp_path / "data"), "dataset": "owned"}

    return write


def test_the_exposure_of_an_item_everybody_had_cannot_select_a_model(owned, small):
    given = small(**owned(), target_items=["i0"], metrics=["NDCG", "ER"])
    with pytest.raises(DataError, match=r"valid_metric 'ER@10' cannot be measured: .* found none among 12") as error:
        prepare(AttackConfig(config_dict={**given, "valid_metric": "ER@10"}))
    assert "\n" not in str(error.value)
    prepare(AttackConfig(config_dict={**given, "valid_metric": "NDCG@10"}))


@pytest.mark.parametrize("scenario", ["federated", "central"])
def test_one_user_without_the_item_is_enough(owned, small, scenario):
    given = small(**owned(spared={3}), metrics=["ER", "Target_NDCG"], topk=[5], scenario=scenario)
    for metric in ("ER@5", "Target_NDCG@5"):
        experiment = prepare(AttackConfig(config_dict={**given, "target_items": ["i1"], "valid_metric": metric}))
        assert len(experiment.valid_data.dataset.inter_feat) == 12


@pytest.mark.parametrize("metric", ["ER_Out@10", "Invisibility@10", "Hit_In@10"])
def test_without_a_group_nobody_is_outside_it(config, metric):
    with pytest.raises(ConfigError, match=r"expected another metric, or a target_group such as gender=M"):
        config(metrics=["NDCG", metric.split("@")[0]], valid_metric=metric)


@pytest.mark.parametrize(
    ("metric", "spared", "defined"),
    [
        ("ER_In@5", {0, 1, 2, 3, 4, 5}, True),
        ("ER_Out@5", {0, 1, 2, 3, 4, 5}, False),
        ("ER_Out@5", {6, 7, 8, 9, 10, 11}, True),
        ("Invisibility@5", {0, 1, 2, 3, 4, 5}, False),
        ("Invisibility@5", set(range(12)) - {5}, True),
        ("Hit_Out@5", set(), True),
    ],
)
def test_a_group_needs_users_of_the_platform_who_never_had_the_item(owned, pretrain, metric, spared, defined):
    """Half of the men and half of the women, about, are the platform's; nobody or all of a group had the item."""
    given = pretrain(
        **owned(spared), target_items=["i1"], metrics=["ER_In", "ER_Out", "Hit_Out", "Invisibility"], topk=[5]
    )
    changes = {"valid_metric": metric, "platform_users": "random:0.6", "prompt_fields": ["gender"], "attack": "none"}
    config = AttackConfig(config_dict={**given, **changes})
    if defined:
        prepare(config)
    else:
        with pytest.raises(DataError, match=rf"valid_metric '{metric}' cannot be measured"):
            prepare(config)


@pytest.mark.parametrize("scenario", ["federated", "recbole", "pretrain"])
def test_who_is_drawn_to_be_evaluated_is_who_has_to_be_without_the_item(owned, small, pretrain, scenario):
    """Six users never had it. Where others are drawn, as the loader says whom, no epoch would have a value."""
    own = {"scenario": scenario, "attack": "none", "target_items": ["i1"], "topk": [5], "eval_users": 1}
    own |= {"model": "SASRec" if scenario != "recbole" else "BPR", "metrics": ["Hit", "ER"]}
    own |= {"platform_users": "random:0.6"} if scenario == "pretrain" else {}
    base = owned(spared=range(6))
    given = (pretrain if scenario == "pretrain" else small)(**base)
    if scenario == "recbole":
        given = {"data_path": base["data_path"], "dataset": base["dataset"], "show_progress": False, "epochs": 1}
    seen = set()
    for seed in range(12):
        values = {**given, **own, "seed": seed}
        loader = prepare(AttackConfig(config_dict={**values, "valid_metric": "Hit@5"})).valid_data
        (user,) = loader.dataset.tokens("user_id", loader.dataset.inter_feat["user_id"].numpy())
        asked = AttackConfig(config_dict={**values, "valid_metric": "ER@5"})
        seen.add(int(user[1:]) < 6)
        if int(user[1:]) < 6:
            assert prepare(asked).valid_data.dataset.inter_feat["user_id"].tolist() == [
                *loader.dataset.inter_feat["user_id"]
            ]
        else:
            with pytest.raises(DataError, match=r"found none among 1 that eval_users draws; .*, more eval_users, or"):
                prepare(asked)
    assert seen == {True, False}
