"""Gates: what is read of their text, when they fail, and the exit codes of the commands that take them."""

from __future__ import annotations

import json
import math

import pytest
import yaml
from hypothesis import assume, given
from hypothesis import strategies as st

from recbole_attack.commands.main import main
from recbole_attack.evaluator import register_metrics
from recbole_attack.report.gate import Gate, check_gates, check_passed, read_gates
from recbole_attack.utils.errors import ConfigError, GateError

NUMBERS = st.floats(-1, 1, allow_nan=False)


def can_fail(gate):
    """Whether a share can meet it: one of an arm lies between 0 and 1, a difference of two between -1 and 1."""
    least, limit = -1 if gate.what == "delta" else 0, round(gate.limit, 9)
    return {"<": limit > least, "<=": limit >= least, ">": limit < 1, ">=": True}[gate.sign]


GATES = st.builds(
    Gate,
    st.sampled_from([None, "local", "clean", "attacked", "delta"]),
    st.sampled_from(["er@10", "hit@5", "ndcg@20", "averagepopularity@10", "exposure_share@5", "hit_in@10"]),
    st.sampled_from(["<", "<=", ">", ">="]),
    NUMBERS,
).filter(can_fail)


# What is read


@given(st.lists(GATES, min_size=1), st.sampled_from(["", " "]), st.booleans())
def test_a_gate_is_read_as_it_is_written(gates, space, upper):
    def written(gate):
        metric = gate.metric.upper() if upper else gate.metric
        return f"{gate.what or ''} {metric}{space}{gate.sign}{space}{gate.limit!r}"

    assert read_gates(f"{space},".join(map(written, gates))) == tuple(gates)


def test_per_cent_are_hundredths():
    assert read_gates("er@10 > 5%, delta hit@10 < -2 %") == (
        Gate(None, "er@10", ">", 0.05),
        Gate("delta", "hit@10", "<", -0.02),
    )


@pytest.mark.parametrize(
    ("text", "words"),
    {
        "nothing": ("", "found ''"),
        "no limit": ("er@10 >", "found 'er@10 >'"),
        "an unknown sign": ("er@10 = 0.1", "found 'er@10 = 0.1'"),
        "one of two": ("er@10 > 0.1,", "found ''"),
        "a word as limit": ("er@10 > much", "expected a number behind '>', found 'much'"),
        "no number": ("er@10 > nan", "expected a number"),
        "no end": ("er@10 < inf", "expected a number"),
        "an arm nobody has": ("atacked er@10 > 0.1", "did you mean 'attacked'?"),
        "per cent without their sign": ("er@10 > 5", "5 % is 0.05"),
        "one per cent without its sign": ("er@10 > 1", "a share between 0 and 1, expected a limit that it can pass"),
        "more than all": ("delta er@10 > 100 %", "a share between -1 and 1"),
        "less than nothing": ("hit@10 < 0", "expected a limit that it can pass, found 0"),
        "a loss of an arm": ("hit@10 <= -0.02", "expected a limit that it can pass, found -0.02"),
        "a loss of more than all": ("delta hit@10 < -1", "expected a limit that it can pass, found -1"),
    }.values(),
)
def test_what_is_no_gate_is_refused(text, words):
    with pytest.raises(ConfigError) as refused:
        read_gates(text)
    assert words in str(refused.value)


def test_a_metric_that_is_no_share_may_have_any_limit():
    assert read_gates("averagepopularity@10 > 500")[0].limit == 500


# What can be judged

register_metrics()
CONFIG = {"metrics": ["Hit", "ER"], "topk": [5, 10]}


@pytest.mark.parametrize(
    ("text", "words"),
    [("er@20 > 0.1", "did you mean 'er@10'?"), ("ndcg@10 > 0.1", "not measured"), ("hit > 0.1", "not measured")],
)
def test_a_metric_that_is_not_measured_is_refused(text, words):
    with pytest.raises(ConfigError, match=words.replace("?", r"\?")):
        check_gates(read_gates(text), [(CONFIG, ("clean", "attacked"))])


def test_some_run_must_have_the_arms():
    gates = read_gates("delta hit@10 < -0.02")
    with pytest.raises(ConfigError, match="expected a run with clean and attacked, found clean"):
        check_gates(gates, [(CONFIG, ("clean",))])
    check_gates(gates, [(CONFIG, ("clean",)), (CONFIG, ("clean", "attacked"))])


# When they fail


def fails(text, *records):
    try:
        check_passed(read_gates(text), {"": records})
    except GateError as error:
        return str(error)
    return None


@given(st.sampled_from(["<", "<=", ">", ">="]), NUMBERS, st.lists(st.floats(0, 1), min_size=1, max_size=4))
def test_a_gate_fails_where_the_mean_over_seeds_meets_it(sign, limit, values):
    assume(can_fail(Gate(None, "er@10", sign, limit)))
    mean, least = round(math.fsum(values) / len(values), 9), round(limit, 9)
    records = [{"attacked": {"test_result": {"er@10": value}}} for value in values]
    meets = {"<": mean < least, "<=": mean <= least, ">": mean > least, ">=": mean >= least}[sign]
    assert (fails(f"er@10 {sign} {limit!r}", *records) is not None) == meets


def test_a_figure_that_is_its_limit_but_for_rounding_is_its_limit():
    assert 0.18 - 0.20 < -0.02 and sum([0.1] * 3) / 3 > 0.1
    delta = {"clean": {"test_result": {}}, "attacked": {"test_result": {}}, "delta": {"hit@10": 0.18 - 0.20}}
    assert fails("delta hit@10 < -2 %", delta) is None
    assert fails("delta hit@10 <= -2 %", delta)
    shares = [{"attacked": {"test_result": {"er@10": value}}} for value in (0.1 + 0.2, 0.3)]
    assert fails("er@10 > 30 %", shares[0]) is None and fails("er@10 > 0.3", *shares) is None
    assert fails("er@10 >= 0.3", *shares)
    assert fails("er@10 > 0.299999", *shares), "one user of a million is no rounding"
    with pytest.raises(ConfigError, match="expected a limit that it can pass"):
        read_gates("er@10 < 1e-12")


def test_the_arm_is_that_the_run_was_for_or_the_one_it_names(made):
    attacked, clean = made(er=0.25, hit=0.4, clean=(0.5, 0.0)), made(attack="none", er=0.0)
    attacked["delta"] = {"hit@10": -0.1}
    assert fails("er@10 > 0.2", attacked) == "fails (er@10 > 0.2): er@10 is 0.25"
    assert fails("clean er@10 > 0.2", attacked) is None
    assert fails("clean hit@10 > 0.45", attacked)
    assert fails("er@10 > 0.2", clean) is None
    assert fails("delta hit@10 < -0.02", attacked)
    assert fails("delta hit@10 < -0.2", attacked) is None
    assert fails("delta hit@10 < -0.02", clean) is None


@pytest.mark.parametrize("sign", ["<", "<=", ">", ">="])
@pytest.mark.parametrize("value", [None, math.nan])
def test_what_is_undefined_passes_no_gate(sign, value):
    record = {"attacked": {"test_result": {"er@10": value}}}
    assert "er@10 is undefined" in fails(f"er@10 {sign} 0.5", record)
    assert "er@10 is undefined (mean of 2 seeds)" in fails(
        f"er@10 {sign} 0.5", record, {"attacked": {"test_result": {"er@10": 0.1}}}
    )
    assert "er@10 is undefined" in fails(f"er@10 {sign} 0.5", {"attacked": {"test_result": None}})


# The commands


def last_line(err):
    return err.strip().splitlines()[-1]


def words(small, **changes):
    return [f"--{key}={value}" for key, value in small(**changes).items()]


def test_a_run_ends_with_3_where_a_gate_fails_and_prints_its_table_first(small, capsys):
    given = words(small, attack="a_ra", epochs=1)
    assert main([*given, "--fail_if=hit@10 >= 0"]) == 3
    out, err = capsys.readouterr()
    assert "hit@10" in out
    assert last_line(err).startswith("fails (hit@10 >= 0): hit@10 is 0.")
    assert main([*given, "--fail_if=ndcg@10 < 0, delta ndcg@10 < -1"]) == 0


@pytest.mark.parametrize(
    ("gate", "changes"),
    [
        ("er@7 > 0.1", {}),
        ("delta hit@10 < 0", {"attack": "none"}),
        ("local hit@10 <= 0", {}),
        ("er@10 > 1", {}),
        ("er", {}),
    ],
)
def test_what_cannot_be_judged_is_refused_before_anything_is_trained(gate, changes, small, capsys, tmp_path):
    assert main([*words(small, **changes), f"--fail_if={gate}"]) == 2
    assert "fail_if" in capsys.readouterr().err
    assert not (tmp_path / "saved").exists()


def test_a_finished_run_is_held_against_another_gate(small, capsys, tmp_path):
    assert main(words(small, attack="a_ra", epochs=1)) == 0
    (folder,) = (tmp_path / "saved").iterdir()
    assert main(["resume", str(folder), "--fail_if=hit@10 >= 0", "--json"]) == 3
    out, err = capsys.readouterr()
    assert json.loads(out[out.index("{\n") :])["attacked"]["test_result"]
    assert "hit@10 is" in last_line(err)
    assert main([f"--resume={folder}", "--fail_if=ndcg@10 < 0"]) == 0


def test_a_grid_ends_with_3_where_a_row_fails_on_the_mean_of_its_seeds(small, capsys, tmp_path):
    rows = {"none": {"attack": "none"}, "a_ra": {"attack": "a_ra"}}
    (tmp_path / "grid.yaml").write_text(yaml.safe_dump({"fixed": small(epochs=1), "rows": rows}))
    grid = ["grid", "grid.yaml", "--jobs=1", "--seeds=1,2"]
    assert main([*grid, "--fail_if=delta hit@10 >= -1"]) == 3
    assert last_line(capsys.readouterr().err).startswith("fails (delta hit@10 >= -1): row 'a_ra': delta hit@10 is")
    assert main([*grid, "--fail_if=hit@10 >= 0"]) == 3
    err = last_line(capsys.readouterr().err)
    assert "row 'none'" in err and "row 'a_ra'" in err and "(mean of 2 seeds)" in err
    assert main([*grid, "--fail_if=ndcg@10 < 0"]) == 0
    assert main([*grid, "--fail_if=er@7 < 0"]) == 2
