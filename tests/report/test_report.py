"""Tables, captions and pictures of a hand-made record."""

from __future__ import annotations

import copy
import json
import math

import pytest

from recbole_attack.report.pictures import Panel, plot_panels
from recbole_attack.report.run_table import result_table
from recbole_attack.report.tables import captions, course_table, curves
from recbole_attack.report.words import Course, caption, details, exposure_course, history_panels
from recbole_attack.utils.errors import ConfigError

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def record():
    """A record whose every number can be recognised."""

    def metrics(hit, er):
        return {"best_valid_result": None, "test_result": {"hit@10": hit, "er@10": er}, "test_result_full": None}

    def epochs(*values):
        return [
            {"epoch": i, "learning_rate": 0.1, "train_loss": 0.7, "seconds": 1.0, "hit@10": h, "er@10": e}
            for i, (h, e) in enumerate(values)
        ]

    return {
        "config": {
            "model": "SASRec",
            "scenario": "federated",
            "attack": "dvfsr",
            "aggregator": "mean",
            "learner": "adam",
            "learning_rate": 0.003,
            "epochs": 30,
            "clients_per_round": 64,
            "exposure_candidates": "full",
            "mask_history": True,
            "target_items": "least_popular:1",
            "topk": [5, 10],
            "seed": 2020,
        },
        "dataset": {"name": "tiny", "users": 60, "items": 39},
        "budget": {"target_items": ["i22"], "malicious_clients": 3, "malicious_share": 0.05, "mode": "clone"},
        "clean": metrics(0.5, 0.0),
        "attacked": metrics(0.4375, 0.25),
        "delta": {"hit@10": -0.0625, "er@10": 0.25},
        "history": {"clean": epochs((0.1, 0.0), (0.5, 0.0)), "attacked": epochs((0.1, 0.1), (0.4, 0.2))},
    }


def rows(table: str) -> list[list[str]]:
    return [line.split() for line in table.splitlines()]


def test_the_caption_says_what_was_run(record):
    assert caption(record) == (
        "SASRec on tiny (60 users, 39 items); federated, 60 clients a round, server adam 0.003, 30 epochs, mean; "
        "full ranking, history masked; target item i22 (least_popular:1); "
        "attack dvfsr: 3 malicious clients (5 %, cloned); seed 2020"
    )


def test_target_items_are_written_as_on_a_command_line(record):
    record["config"]["target_items"], record["budget"]["target_items"] = ["i1", "i, 2"], ["i1", "i, 2"]
    assert "; 2 target items (i1, i, 2); attack" in caption(record)


def test_details_say_when_models_were_tested_and_how_loud_the_attack_was(record):
    record["clean"]["tested_epoch"], record["attacked"]["tested_epoch"] = 27, 0
    record["attacked"]["uploads"] = {"malicious_weight": 0.0123, "norm_ratio": 15.44, "valid_candidates": 1.0}
    record["history"]["attacked"][0]["er@10"] = 0.9
    assert details(record) == (
        "tested after epoch: clean 27, attacked 0; malicious clients have 1.2 % of the weight; "
        "their updates are 15 times as long as honest ones; "
        "er@10 while training: 90.00 % at most (epoch 0), 20.00 % at last"
    )
    assert details(record) in result_table(record).splitlines()


@pytest.mark.parametrize(
    ("weight", "ratio", "words"),
    [
        (1.0, 123.4, ["100 %", "120 times"]),
        (0.00012, 1234.0, ["0.012 %", "1200 times"]),
        (0.5, 0.0456, ["50 %", "0.046"]),
    ],
)
def test_shares_and_ratios_of_any_size_are_written_out(record, weight, ratio, words):
    record["attacked"]["uploads"] = {"malicious_weight": weight, "norm_ratio": ratio}
    record["budget"]["malicious_share"] = 1.0
    assert all(word in details(record) for word in words)
    assert "(100 %, cloned)" in caption(record)


def test_exposure_on_the_way_is_that_of_the_cutoff_nearest_to_ten(record):
    record["config"]["topk"] = [3, 7, 13, 30]
    record["history"]["attacked"] = [{"epoch": e, "er@7": v} for e, v in enumerate((0.5, 0.75, 0.25))]
    assert details(record).endswith("er@7 while training: 75.00 % at most (epoch 1), 25.00 % at last")


def test_details_leave_out_what_is_not_known(record):
    record["attacked"]["uploads"] = {"malicious_weight": None, "norm_ratio": None, "valid_candidates": None}
    record["history"] = {"clean": [], "attacked": [{"epoch": 0, "er@10": None}]}
    assert details(record) == ""
    assert result_table(record).splitlines()[1].split() == ["metric", "clean", "attacked", "delta"]


def test_the_course_of_exposure_is_its_first_peak_and_its_end(record):
    values = (0.0, 0.75, None, 0.75, float("nan"), 0.25)
    record["history"]["attacked"] = [{"epoch": e, "er@10": v} for e, v in enumerate(values)] + [{"epoch": 6}]
    assert exposure_course(record) == Course("er@10", 0.75, 1, 0.25)
    assert exposure_course(record, "er@99") is None


@pytest.fixture
def pretrained(record):
    """The same of the pre-training scenario."""
    choices = {"scenario": "pretrain", "attack": "bra", "platform": "fine_tune", "platform_users": "random:0.2:9"}
    record["config"].update(choices)
    record["budget"] = {"target_items": ["i22", "i3"], "target_group": "gender=M"}
    record["local"] = {**record["clean"], "test_result": {"hit@10": 0.125, "er@10": float("nan")}}
    quality = {"precision": 0.5, "recall": 0.25, "auroc": None}
    record["detection"] = {arm: {"kmeans": quality, "excess_tail": quality} for arm in ("clean", "attacked")}
    return record


def test_the_caption_of_a_pre_trained_model_names_platform_and_target_users(pretrained):
    assert caption(pretrained) == (
        "SASRec on tiny (60 users, 39 items); pre-trained, platform users random:0.2:9, platform fine_tune; "
        "full ranking, history masked; 2 target items (least_popular:1); attack bra for users gender=M; seed 2020"
    )


def test_the_platforms_own_model_comes_first_and_detection_last(pretrained):
    table = rows(result_table(pretrained))
    assert [row for row in table if row[0] in ("metric", "hit@10,", "er@10,")] == [
        ["metric", "local", "clean", "attacked", "delta"],
        ["hit@10,", "%", "12.50", "50.00", "43.75", "-6.25"],
        ["er@10,", "%", "-", "0.00", "25.00", "+25.00"],
    ]
    assert ["model", "detector", "precision", "recall", "auroc"] in table
    assert [row for row in table if row[0] in ("clean", "attacked")] == [
        [arm, detector, "0.5000", "0.2500", "-"]
        for arm in ("clean", "attacked")
        for detector in ("kmeans", "excess_tail")
    ]


def test_the_caption_of_a_clean_central_run_speaks_of_no_attacker(record):
    record["config"].update(scenario="central", attack="none", mask_history=False, exposure_candidates=1000)
    assert caption(record) == (
        "SASRec on tiny (60 users, 39 items); central, adam 0.003, 30 epochs; "
        "1000 sampled candidates, history not masked; target item i22 (least_popular:1); seed 2020"
    )


def test_the_caption_of_a_baseline_says_whose_trainer_trained_it(record):
    record["config"].update(scenario="recbole", model="BPR", attack="none", learning_rate=0.001, epochs=300)
    assert caption(record) == (
        "BPR on tiny (60 users, 39 items); RecBole's own trainer, adam 0.001, 300 epochs; "
        "full ranking, history masked; target item i22 (least_popular:1); seed 2020"
    )
    record["config"].update(model="Pop", epochs=1)
    assert "RecBole's own trainer, one epoch; full ranking" in caption(record)


def test_the_caption_counts_several_targets_and_knows_compromised_clients(record):
    record["budget"].update(target_items=["i1", "i2"], mode="compromise", malicious_share=0.00123)
    assert "; 2 target items (" in caption(record)
    assert "(0.12 %, compromised)" in caption(record)


def test_the_table_has_a_row_for_each_metric_and_signed_differences(record):
    lines = rows(result_table(record))
    assert ["metric", "clean", "attacked", "delta"] in lines
    assert ["hit@10,", "%", "50.00", "43.75", "-6.25"] in lines
    assert ["er@10,", "%", "0.00", "25.00", "+25.00"] in lines
    assert result_table(record).startswith(caption(record) + "\n")


@pytest.mark.parametrize("missing", [math.nan, None])
def test_undefined_numbers_are_dashes(record, missing):
    record["clean"]["test_result"]["er@10"] = missing
    record["delta"]["er@10"] = missing
    assert ["er@10,", "%", "-", "25.00", "-"] in rows(result_table(record))


@pytest.mark.parametrize("arm", ["clean", "attacked"])
def test_one_arm_makes_one_column_and_no_difference(record, arm):
    record.update({"clean": None, "attacked": None, "delta": None, arm: record[arm]})
    lines = rows(result_table(record))
    assert ["metric", arm] in lines
    assert ["hit@10,", "%", {"clean": "50.00", "attacked": "43.75"}[arm]] in lines


def test_without_test_users_there_is_a_sentence_instead_of_a_table(record):
    for arm in ("clean", "attacked"):
        record[arm]["test_result"] = None
        record[arm]["best_valid_result"] = None
    record["delta"] = None
    above = f"{caption(record)}\n{details(record)}"
    assert result_table(record) == above + "\nno test user; best validation:\nno evaluated user"


def test_without_test_users_the_validation_is_shown(record):
    for arm in ("clean", "attacked"):
        record[arm] = {**record[arm], "best_valid_result": record[arm]["test_result"], "test_result": None}
    record["delta"] = None
    text = result_table(record).split("no test user; best validation:\n")[1]
    assert ["hit@10,", "%", "50.00", "43.75"] in rows(text)


def test_sampled_rankings_come_with_full_ones(record):
    record["config"]["exposure_candidates"] = 100
    for arm in ("clean", "attacked"):
        record[arm]["test_result_full"] = {"hit@10": 0.125, "er@10": 0.0}
    sampled, full = result_table(record).split("the same models under full ranking:\n")
    assert ["hit@10,", "%", "50.00", "43.75", "-6.25"] in rows(sampled)
    assert ["hit@10,", "%", "12.50", "12.50"] in rows(full)


def test_the_record_as_json_makes_the_same_table(record):
    assert result_table(json.loads(json.dumps(record))) == result_table(record)


def cells(table: str) -> list[dict[str, str]]:
    header, _, *body = [[c.strip() for c in line.strip("|").split("|")] for line in table.splitlines() if "|" in line]
    return [dict(zip(header, row, strict=True)) for row in body]


def test_a_line_says_what_was_run_with_which_seeds_and_why_it_differs(record):
    record["timing"], record["seed"] = {"clean": 60.0, "attacked": 60.0}, 2020
    other = {**copy.deepcopy(record), "seed": 2021}
    about = captions({"DV-FSR": [record, other]}, {"DV-FSR": {"reason": "Another victim."}})
    assert about.startswith("- `DV-FSR`: SASRec on tiny (60 users, 39 items); federated, 60 clients a round")
    assert about.endswith("; seeds 2020, 2021; 2.0 min a seed. Another victim.")


def test_the_course_table_has_every_seed_of_the_attacked_rows(record):
    other, clean = copy.deepcopy(record), {**copy.deepcopy(record), "attacked": None}
    record["attacked"] |= {
        "tested_epoch": 1,
        "uploads": {"malicious_weight": 0.0123, "norm_ratio": 15.44, "valid_candidates": None},
    }
    (row,) = cells(course_table({"DV-FSR": [record, other], "none": [clean]}))
    assert row == {
        "row": "DV-FSR",
        "weight, %": "1.23, -",
        "norm ratio": "15.4, -",
        "candidates": "-, -",
        "tested epoch": "1, -",
        "er@10, %, peak (epoch)": "20.00 (1), 20.00 (1)",
        "er@10, %, last epoch": "20.00, 20.00",
    }
    assert course_table({"none": [clean]}) == ""


def test_curves_over_epochs_are_means_over_seeds(record):
    other = copy.deepcopy(record)
    other["history"]["attacked"][1]["er@10"] = 0.6
    figure = {"x": "epoch", "y": "er@10", "line": ["attack"], "panel": ["model", "scenario"]}
    found = curves({"a": [record, other]}, figure)
    assert found == [Panel("SASRec, federated", "er@10", {"dvfsr": [(0, 0.1), (1, pytest.approx(0.4))]})]


def test_curves_over_a_parameter_are_ordered_and_leave_clean_models_out(record):
    records = {}
    for share, exposure in ((0.05, 0.5), (0.001, 0.0), (0.01, 0.25)):
        row = copy.deepcopy(record)
        row["config"]["malicious_ratio"], row["attacked"]["test_result"]["er@10"] = share, exposure
        records[str(share)] = [row]
    clean = copy.deepcopy(record)
    clean.update(attacked=None)
    figure = {"x": "malicious_ratio", "y": "er@10", "line": ["attack"], "panel": ["model"]}
    found = curves({**records, "none": [clean]}, figure)
    assert found == [Panel("SASRec", "er@10", {"dvfsr": [(0.001, 0.0), (0.01, 0.25), (0.05, 0.5)]})]


def test_a_curve_is_of_one_row_at_each_point_and_of_epochs_all_seeds_have(record):
    record["history"]["attacked"] = [{"epoch": e, "er@10": y} for e, y in enumerate((0.0, 0.0, 0.0))]
    stopped, undefined = copy.deepcopy(record), copy.deepcopy(record)
    stopped["history"]["attacked"] = [{"epoch": 0, "er@10": 1.0}, {"epoch": 1, "er@10": 1.0}]
    undefined["history"]["attacked"][0]["er@10"] = None
    figure = {"x": "epoch", "y": "er@10", "line": ["attack"], "panel": ["model"]}
    assert curves({"a": [record, stopped]}, figure) == [Panel("SASRec", "er@10", {"dvfsr": [(0, 0.5), (1, 0.5)]})]
    assert curves({"a": [undefined]}, figure) == [Panel("SASRec", "er@10", {"dvfsr": [(1, 0.0), (2, 0.0)]})]
    with pytest.raises(ConfigError, match="expected one row for each point, found several at epoch 0 of line 'dvfsr'"):
        curves({"a": [record], "b": [stopped]}, figure)


def test_what_is_on_or_off_tells_panels_apart_by_its_name(record):
    record["config"]["upload_search_gradient"] = False
    other = copy.deepcopy(record)
    other["config"]["upload_search_gradient"] = True
    figure = {"x": "epoch", "y": "er@10", "line": ["attack"], "panel": ["model", "upload_search_gradient"]}
    assert [panel.title for panel in curves({"a": [record], "b": [other]}, figure)] == [
        "SASRec",
        "SASRec, upload_search_gradient",
    ]


@pytest.mark.parametrize("panels", [1, 2, 3])
def test_panels_become_a_png(tmp_path, panels):
    lines = {"0.1": [(1, 0.0), (2, math.nan)], "1": [(1, 0.5), (2, 1.0)]}
    plot_panels([Panel(f"panel {n}", "er@5", lines) for n in range(panels)], "epoch", tmp_path / "figure.png")
    assert (tmp_path / "figure.png").read_bytes().startswith(PNG)
    assert len(list(tmp_path.iterdir())) == 1


def test_the_history_shows_exposure_and_accuracy_of_each_arm(record):
    panels = history_panels(record)
    assert [panel.ylabel for panel in panels] == ["er@10", "hit@10"]
    for panel in panels:
        for arm, epochs in record["history"].items():
            assert panel.lines[arm] == [(e["epoch"], e[panel.ylabel]) for e in epochs]


@pytest.mark.parametrize("cutoff", [5, 10, 30])
def test_accuracy_at_any_cut_off_is_enough_for_a_picture(record, cutoff):
    for epochs in record["history"].values():
        for epoch in epochs:
            del epoch["er@10"]
            epoch[f"hit@{cutoff}"] = epoch.pop("hit@10")
    assert [panel.ylabel for panel in history_panels(record)] == [f"hit@{cutoff}"]


def test_epochs_without_evaluation_leave_gaps(record):
    del record["history"]["clean"][0]["hit@10"], record["history"]["clean"][0]["er@10"]
    for panel in history_panels(record):
        epochs = {arm: [x for x, _ in points] for arm, points in panel.lines.items()}
        assert epochs["attacked"] == [0, *epochs["clean"]] == [0, 1]


@pytest.mark.parametrize(
    "history",
    [{}, {"clean": []}, {"clean": [{"epoch": 0, "train_loss": 0.7}]}, {"clean": [{"epoch": 0, "er@10": 0.7}]}],
    ids=str,
)
def test_without_measurements_there_is_no_picture(record, history):
    record["history"] = history
    assert history_panels(record) == []
