"""RecBole's own parameters: what it would take for no filter is refused, the rest means what RecBole means."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recbole.data.dataset import Dataset

from recbole_attack import AttackConfig
from recbole_attack.config.checks import is_interval
from recbole_attack.utils.errors import ConfigError
from recbole_attack.utils.files import write_yaml


def refused(config, **changes):
    with pytest.raises(ConfigError) as error:
        config(**changes)
    message = str(error.value)
    assert "\n" not in message and len(message) < 1000
    return message


@pytest.mark.parametrize("key", ["user_inter_num_interval", "item_inter_num_interval"])
@pytest.mark.parametrize(
    "value", [5, "5", "[5,10", "5,10", ">=5", "8-10", "[10,5]", "(5,5)", "[a,b]", "[5,10];", "", "[nan,5]"]
)
def test_an_interval_recbole_cannot_read_is_refused_with_the_syntax(config, key, value):
    message = refused(config, **{key: value})
    assert key in message and "'[5,inf)'" in message


@pytest.mark.parametrize(
    "value", ["[5,inf)", "[0,inf)", "(1,3]", "[5,5]", " [ 2 , 50 ] ", "[1,2];[5,7)", "[-inf,3.5]", "[1e1,inf]"]
)
def test_an_interval_recbole_reads_is_kept(config, value):
    assert config(user_inter_num_interval=value)["user_inter_num_interval"] == value


def members(intervals, number):
    """Recbole's own reading, of what its parser makes of the text."""
    return bool(Dataset._within_intervals(None, number, intervals))


class Silent:
    class logger:
        warning = staticmethod(lambda text: pytest.fail(text))


@settings(derandomize=True, deadline=None)
@given(
    st.text("[](),; 0123.einf-+", max_size=14)
    | st.from_regex(r"[\[(]\d,(\d|inf)[\])](;[\[(]\d,\d[\])])?", fullmatch=True)
)
def test_recbole_reads_every_interval_that_is_accepted(text):
    """The oracle: RecBole parses it without a warning, and a number between the ends of a part is inside."""
    if not is_interval(text):
        return
    intervals = Dataset._parse_intervals_str(Silent, text)
    assert len(intervals) == text.count(";") + 1
    for _, low, high, _ in intervals:
        middle = low if low == high else max(low, -1e9) / 2 + min(high, 1e9) / 2
        assert not math.isnan(middle) and (members(intervals, middle) or not low <= middle <= high)


@pytest.mark.parametrize("value", [False, True, "frist", "First", "none", 0, ["first"]])
def test_which_of_repeated_interactions_is_kept_is_first_last_or_all(config, value):
    assert "'first' or 'last'" in refused(config, rm_dup_inter=value)
    for kept in ("first", "last", None):
        assert config(rm_dup_inter=kept)["rm_dup_inter"] == kept
    assert config(rm_dup_inter="null")["rm_dup_inter"] is None


@pytest.mark.parametrize(
    "value",
    [
        {"rating": "3"},
        {"rating": ">=3"},
        {"rating": 3},
        {"gender": "M"},
        {"gender": []},
        {"gender": [""]},
        {"": "[1,2]"},
        {"item_id": [1e5]},
        {"item_id": [True]},
        {"item_id": [["a"]]},
        ["rating"],
        "rating",
        5,
    ],
    ids=str,
)
def test_values_that_keep_nothing_or_everything_are_refused(config, value):
    message = refused(config, val_interval=value)
    assert "val_interval" in message and "'[3,inf)'" in message and "['M', 'F']" in message


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("{'rating': '[3,5]'}", {"rating": "[3,5]"}),
        ({"rating": "(1,2];[4,5]"}, {"rating": "(1,2];[4,5]"}),
        ({"gender": ["M", "F"]}, {"gender": ["M", "F"]}),
        ({"item_id": [12, "1e5"]}, {"item_id": ["12", "1e5"]}),
        ("{'item_id': [12, '012']}", {"item_id": ["12", "012"]}),
    ],
)
def test_value_filters_are_intervals_and_tokens(config, given, expected):
    assert config(val_interval=given)["val_interval"] == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("{'inter':'*'}", {"inter": "*"}),
        ({"inter": ["*"]}, {"inter": "*"}),
        ({"inter": "*", "user": "user_id,age"}, {"inter": "*", "user": ["user_id", "age"]}),
        ("null", None),
    ],
    ids=str,
)
def test_columns_are_read_as_recbole_means_them(config, given, expected):
    assert config(load_col=given)["load_col"] == expected


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"load_col": {"intre": ["user_id"]}}, "unknown file suffix in load_col 'intre'.*did you mean 'inter'"),
        ({"load_col": {"inter": 5}}, "load_col must list the fields of .inter: found 5"),
        ({"load_col": {"inter": [["user_id"]]}}, "load_col must list the fields of .inter"),
        ({"load_col": {"user": [""]}}, "load_col must list the fields of .user"),
        ({"load_col": "user_id"}, "load_col must be a mapping of file suffixes"),
        ({"unload_col": {"user": ["age"]}}, "unload_col needs load_col=null"),
        ({"unload_col": {"usr": ["age"]}, "load_col": None}, "did you mean 'user'"),
        ({"unused_col": {"inter": "*"}}, "unused_col must list the fields of .inter"),
        ({"eval_args": {"splits": {"LS": "test_only"}}}, "unknown part of eval_args 'splits'.*did you mean 'split'"),
        ({"eval_args": {"mode": {"vlaid": "full"}}}, "unknown phase in eval_args mode 'vlaid'.*did you mean 'valid'"),
        ({"valid_metric_bigger": False}, "valid_metric_bigger follows from valid_metric: expected True.*found False"),
        ({"config_file": "a.yaml"}, "unknown parameter 'config_file'.*did you mean 'config_files'"),
        ({"filter_inter_by_user_or_item": "perhaps"}, "filter_inter_by_user_or_item must be bool"),
        ({"field_separator": ""}, "field_separator must be at least one character"),
        ({"ITEM_ID_FIELD": "user_id"}, "must differ"),
        ({"LIST_SUFFIX": ""}, "LIST_SUFFIX must be"),
        ({"TIME_FIELD": ""}, "TIME_FIELD must be"),
        ({"dataset": "a/b"}, "dataset must be the name of a folder"),
        ({"dataset": "../overall"}, "dataset must be the name of a folder"),
        ({"dataset": 1e5}, "dataset must be the name of a folder below data_path: found 100000.0"),
        ({"encoding": "utf-9"}, "encoding must be the name of a text encoding"),
        ({"state": "loud"}, "unknown state 'LOUD'"),
        ({"gpu_id": [0.5]}, "gpu_id must be numbers of GPUs"),
        ({"worker": -1}, "worker must be an integer at least 0"),
        ({"normalize_field": ["rating"], "normalize_all": True}, "normalize_field and normalize_all exclude"),
        ({"seq_len": {"class": 0}}, "seq_len must hold an integer at least 1 for each field"),
        ({"threshold": {"rating": "3"}}, "threshold must hold a number for each field"),
        ({"discretization": {"rating": {"method": "ED"}}}, "discretization must hold"),
        ({"alias_of_item_id": [5]}, "alias_of_item_id must be a list of fields"),
        ({"transform": "[]"}, "transform is not supported"),
        ({"transform": 0.0}, "transform is not supported"),
        ({"benchmark_filename": "0"}, "benchmark_filename is not supported"),
        ({"model": "BERT4Rec", "ft_ratio": 0.5}, "ft_ratio must be 0, since masks are drawn at all positions alike"),
        ({"clip_grad_norm": {"max_norm": "1"}}, "clip_grad_norm must hold a positive max_norm"),
        ({"synthetic_size": {"users": 2**62}, "dataset": "synthetic"}, "synthetic_size must hold at most 2147483647"),
        ({"synthetic_size": {"seed": 2**62}, "dataset": "synthetic"}, "synthetic_size must hold at most 2147483647"),
        ({"hidden_size": 10**9}, "hidden_size must be an integer at least 1 and at most 16384"),
        ({"train_batch_size": 2**62}, "train_batch_size must be an integer at least 1 and at most 2147483647"),
        ({"attack_repeats": 2**62}, "attack_repeats must be an integer at least 1 and at most 100000"),
        ({"exposure_candidates": 2**62}, "exposure_candidates must be 'full', or an integer from 1 to 100000"),
        ({"topk": [32767], "metrics": ["ER"], "valid_metric": "ER@32767"}, "topk must be an integer from 1 to 10000"),
        ({"clip_grad_norm": {}}, "clip_grad_norm must hold a positive max_norm"),
    ],
    ids=str,
)
def test_what_recbole_would_pass_over_is_refused(config, changes, words):
    assert re.search(words, refused(config, **changes))


@pytest.mark.parametrize(
    ("key", "given", "expected"),
    [
        ("field_separator", r"\t", "\t"),
        ("field_separator", r"'\t'", "\t"),
        ("field_separator", "::", "::"),
        ("seq_separator", " ", " "),
        ("gpu_id", 0, "0"),
        ("gpu_id", (0, 1), "0,1"),
        ("gpu_id", "0, 1", "0, 1"),
        ("gpu_id", "", ""),
        ("state", "warning", "WARNING"),
        ("alias_of_item_id", "a, 'b, c'", ["a", "b, c"]),
        ("alias_of_item_id", "[012]", ["012"]),
        ("seq_len", "{'class': 3}", {"class": 3}),
        ("threshold", {"rating": 3}, {"rating": 3}),
        ("discretization", {"rating": {"method": "ED", "bucket": 5}}, {"rating": {"method": "ED", "bucket": 5}}),
        ("clip_grad_norm", "{'max_norm': 1}", {"max_norm": 1}),
        ("dataset", 12, "12"),
        ("dataset", "1e5", "1e5"),
        ("dataset", "012", "012"),
        ("RATING_FIELD", "012", "012"),
        ("wandb_project", "2024", "2024"),
        ("valid_metric_bigger", True, True),
        ("encoding", "latin-1", "latin-1"),
    ],
    ids=str,
)
def test_what_is_accepted_means_this_and_survives_files_and_copies(config, tmp_path, key, given, expected):
    changed = config(**{key: given})
    assert (changed[key], type(changed[key])) == (expected, type(expected))
    write_yaml(tmp_path / "config.yaml", changed.to_dict())
    assert AttackConfig(config_file_list=[str(tmp_path / "config.yaml")]).to_dict() == changed.to_dict()
    assert changed.replace().to_dict() == changed.to_dict()


@pytest.mark.parametrize(
    ("text", "key", "expected"),
    [
        ("target_items: 012", "target_items", "012"),
        ("target_items: 1e5", "target_items", "1e5"),
        (
            "target_items: [012, 1e5, no, 2020-01-01, null, 'a, b']",
            "target_items",
            ["012", "1e5", "no", "2020-01-01", "null", "a, b"],
        ),
        ("dataset: 012", "dataset", "012"),
        ("dataset: 1e5", "dataset", "1e5"),
        (
            "val_interval: {item_id: [012, no], rating: '[3,5]'}",
            "val_interval",
            {"item_id": ["012", "no"], "rating": "[3,5]"},
        ),
        ("RATING_FIELD: 1_0", "RATING_FIELD", "1_0"),
        ("alias_of_user_id: [on, .5]", "alias_of_user_id", ["on", ".5"]),
        ("seq_len: {012: 3}", "seq_len", {"012": 3}),
    ],
)
def test_an_id_in_a_file_is_the_text_it_is_written_as(small, tmp_path, text, key, expected):
    (tmp_path / "given.yaml").write_text(text)
    given = {k: v for k, v in small().items() if k != key}
    config = AttackConfig(config_file_list=[str(tmp_path / "given.yaml")], config_dict=given)
    assert config[key] == expected
    write_yaml(tmp_path / "config.yaml", config.to_dict())
    assert AttackConfig(config_file_list=[str(tmp_path / "config.yaml")]).to_dict() == config.to_dict()
