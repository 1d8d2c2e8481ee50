"""The versions that are shipped: complete, valid, and as large as they say; and what a file of one's own may hold."""

from __future__ import annotations

import re

import pytest

from recbole_attack.benchmark import make_plan
from recbole_attack.config.defaults import load_defaults
from recbole_attack.evaluation.cases import read_subject, rows_of
from recbole_attack.evaluation.ensemble import VERSIONS, read_ensemble
from recbole_attack.utils.errors import ConfigError, DataError

SIX = ["bandwagon", "a_ra", "dvfsr", "a_hum", "poison_frs", "margin"]


@pytest.mark.parametrize("version", VERSIONS)
def test_an_attack_is_written_with_all_its_parameters(version):
    for parameters in read_ensemble(version).attacks.values():
        upload = parameters.get("upload", "computed")
        own = {**load_defaults(f"attack/{parameters['attack']}"), **load_defaults(f"upload/{upload}")}
        assert parameters.keys() - {"attack", "upload"} == own.keys()


@pytest.mark.parametrize("version", ["standard", "plus"])
def test_the_large_ones_try_every_budget_stratum_and_three_seeds_on_both_boards(version):
    found = read_ensemble(version)
    assert list(found.attacks) == SIX + (["adaptive", "fed_rec_attack", "quiet"] if version == "plus" else [])
    assert {name: board.norm_budget for name, board in found.boards.items()} == {"norm": 0.5, "free": None}
    for board in found.boards.values():
        assert board.malicious_ratio == (0.001, 0.005, 0.01)
        assert board.targets == tuple(f"stratified:5:{place}" for place in range(1, 6))
    assert found.seeds == (2020, 2021, 2022) and found.clean_targets == "stratified:5"
    plan = make_plan(rows_of(found, read_subject({})))
    assert len(plan.arms) == 3 + 2 * 3 * 5 * len(found.attacks), "one seed a target"


def test_the_cheap_one_has_all_six_on_both_boards_in_at_most_28_arms():
    found = read_ensemble("cheap")
    assert list(found.attacks) == SIX and found.data_only == {"bandwagon"}
    plan = make_plan(rows_of(found, read_subject({})))
    assert len(plan.arms) <= 28
    attacked = {(cell.config["attack"], cell.config["norm_budget"]) for cell in plan.cells} - {("none", None)}
    assert attacked == {(attack, norm) for attack in SIX for norm in (None, 0.5)}
    assert {cell.config["epochs"] for cell in plan.cells} == {40}
    assert found.attacks["dvfsr"]["upload_search_gradient"] is True


def test_a_version_has_a_hash_of_all_that_decides_its_figures(written):
    same, other = read_ensemble(written()), read_ensemble(written(seeds=[8]))
    assert same.sha256 == read_ensemble(written()).sha256 != other.sha256
    assert len({read_ensemble(version).sha256 for version in VERSIONS}) == len(VERSIONS)


_ALIKE = {"norm_budget": None, "malicious_ratio": [0.1234567, 0.1234568], "targets": ["stratified:3:2"]}


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"chosen": ["margni"]}, "chosen must be among .* found 'margni'; did you mean 'margin'?"),
        ({"data_only": ["bandwagonn"]}, "data_only must be among .* found 'bandwagonn'; did you mean 'bandwagon'?"),
        ({"boards": {"a": _ALIKE}}, "nothing twice: found ['0.123457', '0.123457']"),
        ({"seeds": []}, "expected seeds to hold something, nothing twice: found []"),
        ({"chosen": ["margin", "margin"]}, "nothing twice: found ['margin', 'margin']"),
        ({"bords": {}}, "found 'bords'; did you mean 'boards'?"),
        ({"boards": {"norm": {"norm_budget": 0.5, "targets": ["a"]}}}, "'boards.norm.malicious_ratio'"),
    ],
    ids=["attack", "data", "written alike", "no seed", "twice", "part", "board"],
)
def test_a_file_that_is_no_evaluation_is_refused(parts, words, written):
    with pytest.raises(DataError) as error:
        read_ensemble(written(**parts))
    assert re.search(re.sub(r"([\[\]?])", r"\\\1", words), str(error.value))


def test_a_mistyped_version_is_named():
    with pytest.raises(ConfigError, match=r"cheap, standard, plus.*found 'chaep'; did you mean 'cheap'"):
        read_ensemble("chaep")
