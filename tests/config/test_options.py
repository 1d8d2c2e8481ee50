"""The table of options: it covers the default files, and its bounds hold."""

from __future__ import annotations

import math

import numpy as np
import pytest
import yaml
from hypothesis import assume, given
from hypothesis import strategies as st

from recbole_attack.attack import ATTACKS, BACKDOORS, PROFILES, UPLOADS, Log
from recbole_attack.config import AttackConfig
from recbole_attack.config.defaults import properties
from recbole_attack.config.options import OPTIONS, UNSUPPORTED, Option, check_options
from recbole_attack.data.sequences import from_pairs
from recbole_attack.defense import AGGREGATORS, CLIENT_DEFENSES, DETECTORS
from recbole_attack.inspection.options import INSPECTION
from recbole_attack.model import MODELS
from recbole_attack.stages import PLATFORMS, plans
from recbole_attack.utils.errors import ConfigError

FILES = sorted(p for p in properties().rglob("*.yaml") if p.parent.name != "evaluation")  # no defaults: of a command
NUMBERS = {name: option for name, option in OPTIONS.items() if option.kind in (int, float)}


def defaults(path):
    return yaml.safe_load(path.read_text(encoding="utf-8")) or {}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(properties())))
def test_every_default_is_an_option(path):
    checked_apart = {"eval_args"}  # a mapping with keys of its own, see options._check_evaluation
    if path.name == "inspect.yaml":  # of a command, and no parameters of a run
        assert set(defaults(path)) == set(INSPECTION)
        return
    assert not set(defaults(path)) - set(OPTIONS) - set(UNSUPPORTED) - checked_apart


@pytest.mark.parametrize(
    ("folder", "recipes", "name"),
    [("attack", ATTACKS, name) for name in ATTACKS]
    + [("attack", BACKDOORS, name) for name in BACKDOORS]
    + [("profile", PROFILES, name) for name in PROFILES]
    + [("upload", UPLOADS, name) for name in UPLOADS if name != "computed"]
    + [("defense", AGGREGATORS, name) for name in AGGREGATORS]
    + [("defense", CLIENT_DEFENSES, name) for name in CLIENT_DEFENSES if name != "none"],
)
def test_every_recipe_finds_all_it_reads_in_its_own_file(folder, recipes, name):
    class Recording(dict):
        def __missing__(self, key):
            pytest.fail(f"properties/{folder}/{name}.yaml lacks '{key}'")

    path = properties() / folder / f"{name}.yaml"
    assert path.is_file()
    read = set()

    class Spy(Recording):
        def __getitem__(self, key):
            read.add(key)
            return super().__getitem__(key)

        def get(self, key, default=None):
            read.update({key} & set(self))
            return super().get(key, default)

    if recipes is BACKDOORS:
        recipes[name](Spy(defaults(path)), None, None)
        plans(Spy({"platform": "direct", "attack": name, "compare_clean": True, **defaults(path)}))
        read -= {"platform", "attack", "compare_clean"}
    elif recipes is PROFILES:
        log = from_pairs(np.array([1, 1]), np.array([1, 2]), 2, 4)
        recipes[name](Spy(defaults(path)), Log(log, np.array([1])))
        if "category_field" in defaults(path):
            recipes[name](Spy(defaults(path)), Log(log, np.array([1]), np.array([0, 1, 1, 2])))
        read.add("profile_size")  # by what counts the fake users
    else:
        recipes[name](Spy(defaults(path)))
    assert read == set(defaults(path)), "parameters that the recipe never reads"


def test_there_is_no_file_for_a_recipe_or_model_that_does_not_exist():
    assert {p.stem for p in (properties() / "attack").glob("*.yaml")} == {*ATTACKS, *BACKDOORS}
    assert {p.stem for p in (properties() / "profile").glob("*.yaml")} == set(PROFILES)
    defenses = {*AGGREGATORS, *CLIENT_DEFENSES} - {"none"}
    assert {p.stem for p in (properties() / "defense").glob("*.yaml")} == defenses
    assert {p.stem for p in (properties() / "detector").glob("*.yaml")} <= set(DETECTORS)
    assert {p.stem for p in (properties() / "upload").glob("*.yaml")} == {*UPLOADS} - {"computed"}
    assert {p.stem for p in (properties() / "model").glob("*.yaml")} <= set(MODELS)


@pytest.mark.parametrize(
    "changes",
    [{"attack": a} for a in [*ATTACKS, *BACKDOORS]]
    + [{"scenario": "pretrain", "attack": a, "platform": p} for a in BACKDOORS for p in PLATFORMS]
    + [{"scenario": "recbole", "attack": a} for a in PROFILES]
    + [{"upload": u} for u in UPLOADS]
    + [{"aggregator": a} for a in AGGREGATORS]
    + [{"client_defense": d} for d in CLIENT_DEFENSES],
    ids=str,
)
def test_the_defaults_are_valid(changes):
    check_options(AttackConfig(config_dict=changes).to_dict())


@pytest.mark.parametrize("name", OPTIONS)
def test_options_explain_themselves_in_one_line(name):
    option = OPTIONS[name]
    assert option.help.strip()
    assert "\n" not in option.help + option.expected
    assert option.choices or option.form or option.kind in (bool, int, float, str, dict, list)


def accepts(option: Option, value: object) -> bool:
    try:
        option.check("name", value)
    except ConfigError as error:
        assert "name" in str(error)
        return False
    return True


def inside(option: Option, value: float) -> bool:
    return (
        (option.low is None or value >= option.low)
        and (option.high is None or value <= option.high)
        and (option.above is None or value > option.above)
    )


bound = st.none() | st.integers(-5, 5).map(float)


@given(bound, bound, bound, st.integers(-7, 7) | st.floats(-7, 7))
def test_numbers_are_valid_exactly_inside_the_bounds(low, high, above, value):
    option = Option("help", float, low=low, high=high, above=above)
    assert accepts(option, value) == inside(option, value)
    whole = Option("help", int, low=low, high=high, above=above)
    assert accepts(whole, value) == (isinstance(value, int) and inside(option, value))


@given(st.booleans() | st.none() | st.text() | st.lists(st.integers()) | st.complex_numbers() | st.binary())
@pytest.mark.parametrize("kind", [int, float])
def test_what_is_no_number_is_no_number(kind, value):
    assert not accepts(Option("help", kind), value)


@given(st.none() | st.text() | st.integers() | st.floats())
def test_only_true_and_false_are_booleans(value):
    assert not accepts(Option("help", bool), value)
    assert accepts(Option("help", bool), True) and accepts(Option("help", bool), False)


@given(st.text() | st.integers() | st.none() | st.lists(st.text(max_size=1), max_size=2))
def test_only_the_choices_can_be_chosen(value):
    option = Option("help", str, ("one", "two"))
    assume(value not in ("one", "two"))
    assert not accepts(option, value)
    assert accepts(option, "one") and accepts(option, "two")


@pytest.mark.parametrize("name", NUMBERS)
def test_the_edges_of_every_numeric_option(name):
    option = NUMBERS[name]
    step = 1 if option.kind is int else 1e-9
    for edge, outward in ((option.low, -step), (option.high, step)):
        if edge is not None:
            assert accepts(option, option.kind(edge))
            assert not accepts(option, option.kind(edge + outward))
    if option.above is not None:
        assert not accepts(option, option.kind(option.above))
        assert accepts(option, option.kind(option.above + step))
    assert accepts(option, None) == option.optional


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", [2**63, 10**400, -(10**400)], ids=["64 bits", "1e400", "-1e400"])
def test_no_number_of_a_machine_is_refused_and_none_beyond_is_taken(name, value):
    assert not accepts(OPTIONS[name], value) or (
        OPTIONS[name].kind is float and OPTIONS[name].high is None and value == 2**63
    )


@pytest.mark.parametrize("name", [name for name, option in NUMBERS.items() if option.kind is float])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_options_must_be_finite(name, value):
    assert not accepts(OPTIONS[name], value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"aggregator": "union", "per_item": True}, "'union' needs whole updates"),
        ({"aggregator": "union", "pre_aggregator": "arc"}, "expected pre_aggregator 'none', found 'arc'"),
        ({"aggregator": "hics", "pre_aggregator": "arc"}, "'hics' with pre_aggregator 'arc' needs per_item"),
        ({"aggregator": "flame", "per_item": True}, "'flame' needs whole updates: expected per_item False, found True"),
        (
            {"aggregator": "support_shrunk", "pre_aggregator": "arc"},
            "pre_aggregator 'arc' needs per_item: expected True",
        ),
        ({"pre_aggregator": "nmm"}, "unknown pre_aggregator 'nmm'.*nnm"),
        ({"pre_aggregator": "bucketing", "bucket_size": 0}, "bucket_size must be an integer at least 1: found 0"),
        (
            {"client_detectors": "{top_row:0.5, clone: 0.9}"},
            r"client_detectors must be a mapping .* did you mean \{top_row: 0.5, clone: 0.9\}\?",
        ),
        ({"client_detectors": {"clone": None}}, r"must hold a number for each detector: found \{'clone': None\}$"),
        ({"hostile_ratio": 0.2}, "unknown parameter 'hostile_ratio'.*read by pre_aggregator arc, pre_aggregator nnm"),
    ],
    ids=str,
)
def test_what_rules_do_not_go_together_is_said_before_anything_is_trained(changes, message):
    with pytest.raises(ConfigError, match=message):
        AttackConfig(config_dict=changes)
