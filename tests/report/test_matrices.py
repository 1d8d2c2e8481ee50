"""Matrices of exposure and their worst cells."""

from __future__ import annotations

from recbole_attack.report.cells import cells
from recbole_attack.report.matrices import matrices


def exposures(matrix):
    return {place: estimate.mean for place, (_, estimate) in matrix.exposure.items()}


def test_exposure_by_attack_and_share(made):
    grid = {("dvfsr", 0.01): 0.5, ("dvfsr", 0.1): 0.75, ("eb", 0.01): 0.125, ("eb", 0.1): 0.25}
    records = [made(attack, er, malicious_ratio=share) for (attack, share), er in reversed(grid.items())]
    (matrix,) = matrices(cells([*records, made("none", 0.9)]))
    assert (matrix.by, matrix.attacks, matrix.columns) == ("malicious share", ("eb", "dvfsr"), ("1 %", "10 %"))
    assert exposures(matrix) == {(attack, f"{100 * share:g} %"): er for (attack, share), er in grid.items()}
    assert matrix.worst == {("dvfsr", "10 %")}


def test_exposure_by_attack_and_rule_with_the_clean_model_and_its_own_parameters(made):
    records = [
        made("none", 1.0),
        made("dvfsr", 0.5),
        made("dvfsr", 0.25, aggregator="krum", byzantine=1),
        made("dvfsr", 0.125, aggregator="krum", byzantine=2),
        made("eb", 0.5, client_defense="adversarial_training"),
    ]
    by_share, by_rule = matrices(cells(records))
    assert by_rule.by == "aggregation rule"
    assert by_rule.columns == ("mean", "krum, byzantine 1", "krum, byzantine 2", "mean, adversarial_training")
    assert exposures(by_rule) == {
        ("no attack", "mean"): 1.0,
        ("dvfsr", "mean"): 0.5,
        ("dvfsr", "krum, byzantine 1"): 0.25,
        ("dvfsr", "krum, byzantine 2"): 0.125,
        ("eb", "mean, adversarial_training"): 0.5,
    }
    assert by_rule.worst == {("dvfsr", "mean"), ("eb", "mean, adversarial_training")}
    assert set(exposures(by_share).values()) == {0.5, 0.25, 0.125}


def test_each_place_and_ranking_has_its_own_matrix_and_worst_cell(made):
    records = [
        made(er=er, malicious_ratio=share, data=data, exposure_candidates=100, full=(0.1, er / 2))
        for data, er in (("a", 0.5), ("b", 0.25))
        for share in (0.01, 0.1)
    ]
    found = matrices(cells(records))
    places = ["a, ranking 100 sampled", "b, ranking 100 sampled", "a, ranking full", "b, ranking full"]
    assert [matrix.place for matrix in found] == places
    assert [set(exposures(matrix).values()) for matrix in found] == [{0.5}, {0.25}, {0.25}, {0.125}]
    assert all(len(matrix.worst) == 2 for matrix in found)


def test_rows_that_are_called_alike_are_both_there(made):
    rows = {"first": [made(er=0.5)], "again": [made(er=0.25)], "weak": [made(er=0.0, malicious_ratio=0.01)]}
    (matrix,) = matrices(cells(rows))
    assert exposures(matrix) == {
        ("dvfsr, first", "5 %"): 0.5,
        ("dvfsr, again", "5 %"): 0.25,
        ("dvfsr", "1 %"): 0.0,
    }


def test_nothing_is_worst_where_nothing_was_exposed(made):
    (matrix,) = matrices(cells([made(er=0.0), made(er=0.0, malicious_ratio=0.5)]))
    assert matrix.worst == set()


def test_one_cell_or_no_measure_of_exposure_makes_no_matrix(made):
    assert matrices(cells([made()])) == []
    assert matrices(cells([made(er=None), made("eb", er=None)])) == []


def test_a_provider_has_no_share_of_malicious_clients(made):
    records = [made("bra", scenario="pretrain"), made("pea", scenario="pretrain", malicious_ratio=0.5)]
    for record in records:
        del record["budget"]["malicious_clients"], record["budget"]["malicious_share"]
    found = cells(records)
    assert matrices(found) == []
    assert [row.name for row in found.rows] == ["bra", "pea"]
