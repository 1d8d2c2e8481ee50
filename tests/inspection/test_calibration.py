"""p-values against a literal reading, and clean models that are kept and found again."""

from __future__ import annotations

import linecache
from dataclasses import replace
from functools import partial, wraps
from pathlib import Path

import numpy as np
import pytest
import torch
from configured import configured
from hypothesis import given
from hypothesis import strategies as st

from recbole_attack.defense import DETECTORS, Detection
from recbole_attack.defense.detection import excess_tail
from recbole_attack.evaluator import model_view
from recbole_attack.experiment.base import party_data
from recbole_attack.experiment.detection import detected
from recbole_attack.inspection import calibration
from recbole_attack.inspection.calibration import cache_folder, clean_maxima, clean_scores, p_values
from recbole_attack.inspection.given_model import GivenModel
from recbole_attack.inspection.model_file import ModelFile
from recbole_attack.inspection.platform import prepare_platform
from recbole_attack.model import SASRec
from recbole_attack.utils.errors import DataError

numbers = st.floats(-5, 5, width=16) | st.sampled_from([0.0, 1.0])


@given(st.lists(numbers, min_size=1), st.lists(numbers, min_size=1))
def test_p_values_are_those_of_a_literal_reading(scores, clean):
    expected = [(1 + sum(other >= score for other in clean)) / (1 + len(clean)) for score in scores]
    assert p_values(np.array(scores), np.array(clean)).tolist() == expected


@given(st.lists(st.lists(numbers, min_size=3, max_size=3), min_size=2, max_size=12))
def test_of_all_models_each_in_turn_against_the_others_no_more_are_flagged_than_stated(models):
    """The promise itself: models that are alike, three items each, no distribution assumed."""
    highest, n = np.array(models).max(axis=1), len(models)
    smallest = [p_values(np.array(scores), np.delete(highest, k)).min() for k, scores in enumerate(models)]
    for k in range(1, n + 1):
        assert sum(p <= k / n + 1e-12 for p in smallest) <= k


@pytest.fixture
def platform(mine):
    def build(**changes):
        file = ModelFile(Path("none.pth"), "", {}, {"model": "SASRec"})
        given = {**mine, "hidden_size": 8, "inner_size": 16, "MAX_ITEM_LIST_LENGTH": 12, **changes}
        return prepare_platform(configured(file, None, "tiny", None, given))

    return build


def test_whom_models_show_items_is_what_a_plain_loop_counts(platform):
    at = platform()
    half = at.users & (np.arange(len(at.users)) % 2 == 0)
    first, second = at.trained(half, 1), at.trained(at.users & ~half, 2)
    found = at.evidence(first, second, half)
    full, expected = at.dataset.split.full, np.zeros((2, at.dataset.item_num, 2), dtype=int)
    users = [user for user in np.flatnonzero(half) if full.lengths[user] >= 3]
    for user in users:
        *history, truth = full[user].tolist()
        recent = torch.tensor([history[-12:]])
        for index, model in enumerate((first, second)):
            with torch.no_grad():
                scores = model.model.score_items(recent, torch.tensor([recent.shape[1]]))[0].numpy()
            barred = {0, *history} - {truth}
            order = [item for item in np.argsort(-scores, kind="stable") if item not in barred]
            for column, n in enumerate((5, 10)):
                expected[index, order[:n], column] += 1
    assert found.users == len(users)
    assert (found.pretrained == expected[0]).all() and (found.local == expected[1]).all()
    train = at.dataset.split.train
    assert (
        found.popularity.tolist()
        == np.bincount(np.concatenate([train[user] for user in np.flatnonzero(half)]), minlength=train.n_items).tolist()
    )


def test_clean_models_are_halves_of_the_users_that_do_not_meet(platform, monkeypatch):
    at, asked = platform(), []
    trained = type(at).trained
    monkeypatch.setattr(
        type(at),
        "trained",
        lambda self, users, seed, file=None, known=None: asked.append((users, seed)) or trained(self, users, seed),
    )
    scores = clean_scores(at, trained(at, at.users, 1), 4)
    (provider, first), (local, second) = asked
    assert not (provider & local).any() and ((provider | local) == at.users).all()
    assert abs(int(provider.sum()) - int(local.sum())) <= 1 and first != second
    clean, own = trained(at, provider, first), trained(at, local, second)
    found = detected(at.evidence(clean, own, local), at.config.final_config_dict)
    assert scores == {name: max(of.scores[1:].tolist()) for name, of in found.items()}


def test_clean_models_are_trained_once_and_an_interruption_costs_one(platform, monkeypatch):
    at = platform()
    model = at.trained(at.users, 7)
    with monkeypatch.context() as patch:
        seen = []
        patch.setattr(calibration, "clean_scores", lambda *args: seen.append(args[2]) or stopping(*args))

        def stopping(*args):
            if args[2] == 2:
                raise KeyboardInterrupt
            return clean_scores(*args)

        with pytest.raises(KeyboardInterrupt):
            clean_maxima(at, model, 4)
        assert seen == [0, 1, 2]
    folder = cache_folder(at.config)
    assert sorted(file.name for file in folder.iterdir()) == ["clean-0.json", "clean-1.json"]
    with monkeypatch.context() as patch:
        patch.setattr(calibration, "clean_scores", lambda *args: later.append(args[2]) or clean_scores(*args))
        later = []
        whole = clean_maxima(platform(), model, 3)
        assert later == [2]
        again = clean_maxima(platform(), model, 3)
        assert later == [2]
    assert whole.keys() == again.keys() == DETECTORS.keys()
    for name in DETECTORS:
        assert whole[name].tolist() == again[name].tolist() == [clean_scores(at, model, n)[name] for n in range(3)]


def test_the_cache_is_that_of_data_parameters_and_catalogue(platform, tmp_path):
    folder = cache_folder(platform().config)
    assert cache_folder(platform(show_progress=True, checkpoint_dir="saved").config) == folder
    others = [
        cache_folder(platform(**changes).config) for changes in ({"epochs": 2}, {"seed": 1}, {"mask_history": False})
    ]
    assert len({folder, *others}) == 4
    at = platform()
    model = at.trained(at.users, 7)
    model.known[5] = False
    clean_maxima(at, model, 1)
    (file,) = folder.iterdir()
    assert file.name.startswith("clean-0-")


def test_a_clean_model_of_a_model_that_lacks_items_never_hears_of_them(platform, monkeypatch):
    """An honest provider without them did not, either: not in histories, not as negatives, and not when it is asked."""
    at, data = platform(), []
    model = at.trained(at.users, 7)
    lacking = [3, 4, 8, 20, 31]
    model.known[lacking] = False
    fit = type(at)._fit

    def seen(self, config, built, users, known):
        data.append(party_data(config, self.train, self.dataset.split.train, "platform", users, known))
        return fit(self, config, built, users, known)

    monkeypatch.setattr(type(at), "_fit", seen)
    clean_scores(at, model, 0)
    clean, local = data
    assert not np.isin(clean.sequences.items, lacking).any() and np.isin(local.sequences.items, lacking).any()
    for epoch in range(20):
        assert not np.isin(clean.negatives(epoch), [0, *lacking]).any()
        assert (clean.negatives(epoch) != clean.sequences.items).all()
    assert np.isin(local.negatives(0), lacking).any()
    full, train = at.dataset.split.train, clean.sequences
    for user in np.flatnonzero(train.lengths):
        assert train[user].tolist() == [item for item in full[user].tolist() if item not in lacking]
    without = at.trained(at.users, 7, known=model.known.numpy())
    assert torch.equal(without.known, model.known)


def test_a_model_is_asked_with_the_last_items_it_has_of_all_it_reads(platform):
    """However short the histories are that the model beside it reads, and wherever lacking items stand in them."""
    at, other = platform(), platform(MAX_ITEM_LIST_LENGTH=4)
    long, short = at.trained(at.users, 1), other.trained(other.users, 2)
    alone = at.evidence(long, long, at.users)
    for found in (at.evidence(long, short, at.users).pretrained, other.evidence(short, long, at.users).local):
        assert (found == alone.pretrained).all()
    full = at.dataset.split.full
    lacking = np.unique(np.concatenate([full[user][-4:-1] for user in np.flatnonzero(full.lengths > 12)[:3]]))
    assert 0 < len(lacking) < 20
    known = ~np.isin(np.arange(full.n_items), lacking)
    model = GivenModel(short.model, replace(other.own_items, rows=np.where(known, other.own_items.rows, 0)))
    found = other.evidence(model, short, other.users)
    seen = dict(zip(found.asked.tolist(), found.lists[0].tolist(), strict=True))
    for user in np.flatnonzero(full.lengths > 12):
        *history, truth = full[user].tolist()
        recent = torch.tensor([[item for item in history if item not in lacking][-4:]])
        with torch.no_grad():
            scores = short.model.score_items(recent, torch.tensor([recent.shape[1]]))[0].numpy()
        barred = {0, *history, *lacking.tolist()} - ({truth} - set(lacking.tolist()))
        order = [item for item in np.argsort(-scores, kind="stable").tolist() if item not in barred]
        assert seen[user][:5] == order[:5]


def test_what_is_kept_of_a_class_is_not_that_of_another_of_its_name(mine):
    def make(scale):
        class Mine(SASRec):
            def item_scores(self, states, items=None):
                return scale * super().item_scores(states, items)

        return Mine

    def folder(model):
        return cache_folder(configured(ModelFile(Path("none.pth"), "", {}, {}), model, "tiny", None, mine))

    assert folder(make(1)) == folder(make(1)) != folder(make(2))
    assert folder(SASRec) == folder("SASRec") != folder(make(1))
    unread = type("Mine", (SASRec,), {})
    assert folder(unread) != folder(unread), "it has no source that could be compared"


def enclosed(scale):
    def detector(evidence, seed):
        return Detection(scale * evidence.pretrained[:, 0], evidence.pretrained[:, 0] > 5)

    return detector


def by_default(scale):
    def detector(evidence, seed, scale=scale):
        return Detection(scale * evidence.pretrained[:, 0], evidence.pretrained[:, 0] > 5)

    return detector


def edited(scale):
    def detector(evidence, seed):
        return Detection(scale * evidence.pretrained[:, 1], evidence.pretrained[:, 0] > 5)

    return detector


def of_an_array(scale):
    """Of which most does not show in what is printed of it."""
    weights = np.ones(5000)
    weights[2500] = scale

    def detector(evidence, seed):
        return Detection(weights[: len(evidence.pretrained)] * evidence.pretrained[:, 0], evidence.pretrained[:, 0] > 5)

    return detector


def wrapper(scale):
    """Of a detector of this package, by whose name it goes."""

    @wraps(excess_tail)
    def detector(evidence, seed):
        return excess_tail(evidence, seed, false_discovery_rate=scale)

    return detector


def test_what_is_kept_of_a_detector_is_not_that_of_another_of_its_name(platform, monkeypatch):
    config = platform().config

    def folder(detector):
        with monkeypatch.context() as patch:
            patch.setitem(DETECTORS, "mine", detector)
            return cache_folder(config)

    first, again = (
        [make(n) for make in (enclosed, by_default, edited, of_an_array, wrapper) for n in (1, 2)] for _ in range(2)
    )
    folders = [folder(detector) for detector in first]
    assert len({*folders, cache_folder(config), folder(excess_tail)}) == len(first) + 2
    assert [folder(detector) for detector in again] == folders and folder(excess_tail) == folder(excess_tail)
    unread = {}
    assert folder(enclosed(lambda: 1)) != folder(enclosed(lambda: 1)), "nor can what is inside be compared"
    exec("def detector(evidence, seed): ...", unread)
    for other in (unread["detector"], partial(enclosed(1), seed=1)):
        assert folder(other) != folder(other), "it has no source that could be compared"


def test_what_is_kept_of_a_detector_is_not_that_of_another_helper_in_its_file(platform, monkeypatch, tmp_path):
    config = platform().config

    def folder(limit):
        file = tmp_path / "own.py"
        file.write_text(f"LIMIT = {limit}\ndef detector(evidence, seed):\n    return evidence.pretrained > LIMIT\n")
        space = {"__name__": "own", "__file__": str(file)}
        exec(compile(file.read_text(), str(file), "exec"), space)
        linecache.checkcache(str(file))
        with monkeypatch.context() as patch:
            patch.setitem(DETECTORS, "mine", space["detector"])
            return cache_folder(config)

    assert folder(5) == folder(5) != folder(9)


def test_pushes_are_asked_of_users_that_are_evaluated(platform, monkeypatch):
    """As many as may be asked are evaluated, so all of them are: the same as if anybody were asked."""
    at = platform(eval_users=6)
    model, other = at.trained(at.users, 1), at.trained(at.users, 2)
    everybody = at.evidence(model, other, at.users)
    assert len(everybody.asked) == 6 < at.users.sum()
    monkeypatch.setattr("recbole_attack.evaluator.model_view.MOST_USERS", 6)
    some = at.evidence(model, other, at.users)
    for found, expected in zip(some.pushes, everybody.pushes, strict=True):
        assert np.array_equal(found, expected, equal_nan=True)


def test_users_are_clustered_by_the_platforms_own_model_alone(platform, monkeypatch):
    at, found, plain = platform(), [], model_view.clusters
    model, other = at.trained(at.users, 1), at.trained(at.users, 2)
    monkeypatch.setattr(model_view, "clusters", lambda *args: found.append(plain(*args)) or found[-1])
    groups = at.evidence(model, other, at.users).groups
    assert len(found) == 1 and groups[:, 0].tolist() == found[0].tolist()
    assert groups.tolist() == at.evidence(other, other, at.users).groups.tolist()


def test_a_detector_that_could_not_read_a_clean_model_is_left_out(platform, monkeypatch):
    at = platform()
    model = at.trained(at.users, 7)
    kept = clean_maxima(at, model, 2)
    file = cache_folder(at.config) / "clean-1.json"
    file.write_text(file.read_text().replace(str(kept["margin"][1]), '"left out"'))
    again = clean_maxima(at, model, 2)
    assert set(again) == {*DETECTORS} - {"margin"} and set(clean_maxima(at, model, 1)) == {*DETECTORS}
    assert all(again[name].tolist() == kept[name].tolist() for name in again)
    seen = at.evidence(model, model, at.users)
    found = calibration.highest(replace(seen, pushes=None, rows=None), model, at.config)
    assert {name for name, value in found.items() if value == "left out"} == {"margin", "spectral"}


@pytest.mark.parametrize("text", ["", "{", "[]", '{"kmeans": 1.0}', '{"kmeans": 1.0, "excess_tail": null}'])
def test_a_damaged_file_is_named(platform, text):
    at = platform()
    file = cache_folder(at.config) / "clean-0.json"
    file.parent.mkdir(parents=True)
    file.write_text(text)
    with pytest.raises(DataError, match=r"clean-0\.json is damaged: .* remove it"):
        clean_maxima(at, at.trained(at.users, 7), 1)
