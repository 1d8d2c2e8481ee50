"""What the pre-training scenario refuses: before anything is trained or written, with what was expected and found."""

from __future__ import annotations

import pytest

from recbole_attack import AttackConfig, run_recbole_attack
from recbole_attack.experiment import prepare_pretrain
from recbole_attack.utils.errors import ConfigError, DataError


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model": "GRU4Rec", "attack": "pea"}, "expected model 'SASRec', found 'GRU4Rec'"),
        ({"model": "GRU4Rec", "attack": "none", "platform": "prompt_tune"}, "expected model 'SASRec', found 'GRU4Rec'"),
        ({"model": "BERT4Rec", "loss_type": "CE"}, "such as 'SASRec', found 'BERT4Rec'"),
        ({"model": "PromptSASRec", "scenario": "central"}, "expected scenario 'pretrain', found 'central'"),
        ({"attack": "bra", "scenario": "federated"}, "expected scenario 'pretrain', found 'federated'"),
        ({"attack": "pea", "scenario": "central"}, "expected scenario 'pretrain', found 'central'"),
        ({"attack": "dvfsr", "scenario": "pretrain"}, "expected scenario 'federated', found 'pretrain'"),
        ({"attack": "bra", "three_steps": True}, "unknown parameter 'three_steps'"),
        (
            {"attack": "bra", "replacement_negatives": "contrast", "loss_type": "CE"},
            "expected loss_type 'BPR' or 'BCE', found 'CE'",
        ),
        ({"attack": "bra", "replacement_ratio": 1.5}, "replacement_ratio must be a number at least 0 and at most 1"),
        ({"platform": "fine-tune"}, "did you mean 'fine_tune'"),
        ({"platform_users": "count<"}, "platform_users must be"),
        ({"target_group": "gender="}, "target group: expected"),
        ({"prompt_fields": []}, r"at least one user field: found \[\]"),
        ({"prompt_fields": 5}, "prompt_fields must be a list: found 5"),
        ({"prompt_fields": [5]}, r"at least one user field: found \[5\]"),
        ({"category_field": 5}, "category_field must be a string: found 5"),
    ],
    ids=str,
)
def test_wrong_parameters_are_refused_before_anything_is_done(tmp_path, changes, words):
    with pytest.raises(ConfigError, match=words):
        run_recbole_attack(config_dict={"scenario": "pretrain", **changes})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"prompt_fields": ["age", "sex"], "platform": "prompt_tune"}, "users have no field 'sex'; found age, gender"),
        ({"target_group": "sex=M"}, "no user field 'sex' is loaded; found age, gender"),
        ({"target_group": "gender=X"}, "no user has gender 'X'; found F, M"),
        ({"category_field": "clas"}, "no category field 'clas': found no token field"),
        ({"target_items": "random:100"}, "asks for 100 items: the dataset has"),
        ({"platform_users": "count<2"}, "the platform needs a user with 2 training interactions: found none"),
        ({"platform_users": "count<1000"}, "provider and platform need users: found 0 of the provider"),
    ],
    ids=str,
)
def test_wrong_data_is_refused_before_anything_is_trained_or_written(pretrain, tmp_path, changes, words):
    with pytest.raises(DataError, match=words):
        run_recbole_attack(config_dict=pretrain(**changes))
    assert not (tmp_path / "saved").exists()


def made_dataset(tmp_path, users=None, items=None):
    """Users a to h with ten interactions each with items 0 to 5, those of a and b fewer."""
    folder = tmp_path / "made"
    folder.mkdir()
    rows = [f"{u}\t{(n * t + t) % 6}\t{t}" for n, u in enumerate("abcdefgh") for t in range(5 if u in "ab" else 12)]
    (folder / "made.inter").write_text("\n".join(["user_id:token\titem_id:token\ttimestamp:float", *rows]) + "\n")
    for suffix, lines in (("user", users), ("item", items)):
        if lines:
            (folder / f"made.{suffix}").write_text("\n".join(lines) + "\n")
    return {"data_path": str(tmp_path), "dataset": "made", "platform_users": "count<10", "target_group": "all"}


def test_without_a_user_file_prompts_and_groups_are_refused_and_the_rest_runs(pretrain, tmp_path):
    place = pretrain(**made_dataset(tmp_path))
    with pytest.raises(DataError, match="prompt_fields: users have no field 'age'; found none"):
        run_recbole_attack(config_dict={**place, "attack": "pea"})
    with pytest.raises(DataError, match="no user field 'gender' is loaded; found none"):
        run_recbole_attack(config_dict={**place, "target_group": "gender=M"})
    assert not (tmp_path / "saved").exists()
    assert run_recbole_attack(config_dict=place, saved=False)["attacked"]


def test_an_attack_that_could_change_nothing_is_refused(pretrain, tmp_path):
    users = ["user_id:token\tage:token\tgender:token", *(f"{u}\t3\t{'M' if u in 'ab' else 'F'}" for u in "abcdefgh")]
    items = ["item_id:token\tclass:token", *(f"{item}\t{'' if item == 0 else 'x'}" for item in range(6))]
    place = pretrain(**made_dataset(tmp_path, users, items))
    with pytest.raises(DataError, match="target group 'gender=M': expected users of the provider, found none"):
        run_recbole_attack(config_dict={**place, "target_group": "gender=M"})
    with pytest.raises(DataError, match="needs targets with a category: found none with a 'class'"):
        run_recbole_attack(config_dict={**place, "target_items": "0", "category_field": "class"})
    assert not (tmp_path / "saved").exists()
    assert run_recbole_attack(config_dict={**place, "target_group": "gender=M", "attack": "none"}, saved=False)["clean"]


def test_a_repair_needs_test_users_of_the_platform_and_six_items(pretrain, tmp_path):
    """Only those of the platform are asked, whoever else has a row; lists of 5 tell something among 6 items."""
    repair = {"attack": "bra", "repair": "excess_tail", "target_group": "all"}
    with pytest.raises(DataError, match="more than 5 items, found 0 test users and 39 items"):
        prepare(pretrain(**repair, platform_users="random:0.3:2"))
    place = made_dataset(tmp_path)
    assert prepare(pretrain(**{**repair, **place})).cutoffs == [5]
    inter = tmp_path / "made" / "made.inter"
    rows = [row for row in inter.read_text().splitlines() if "\t5\t" not in row]
    inter.write_text("\n".join(rows) + "\n")
    with pytest.raises(DataError, match=r"more than 5 items, found \d test users and 5 items"):
        prepare(pretrain(**{**repair, **place}))


def prepare(values):
    return prepare_pretrain(AttackConfig(config_dict=values))
