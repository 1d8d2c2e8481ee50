"""What is trained in which order, written out for every attack and platform."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest

from recbole_attack.attack import BACKDOORS
from recbole_attack.stages import PLATFORMS, STAGES, plans

# party, name, what changes, and: P prompts in front, N new ones, ! poisoned
LOCAL = "platform local_train all"
CLEAN = "provider pre_train all"
TUNED = "platform prompt_tune prompts PN"
TWIN = [CLEAN, "provider fake_tune prompts PN", "provider attack_tune model P"]
THREE = [*TWIN[:2], f"{TWIN[2]}!"]
JOINT = "provider pre_train all PN"
FINE, FINE_PROMPTED = "platform fine_tune all", "platform fine_tune all P"
EXPECTED = {
    ("none", "direct", None): ([CLEAN], None),
    ("none", "fine_tune", None): ([CLEAN, FINE], None),
    ("none", "prompt_tune", None): ([CLEAN, TUNED], None),
    ("bra", "direct", None): ([CLEAN], [f"{CLEAN} !"]),
    ("bra", "fine_tune", None): ([CLEAN, FINE], [f"{CLEAN} !", FINE]),
    ("bra", "prompt_tune", None): ([CLEAN, TUNED], [f"{CLEAN} !", TUNED]),
    ("pea", "direct", False): ([JOINT], [f"{JOINT}!"]),
    ("pea", "fine_tune", False): ([JOINT, FINE_PROMPTED], [f"{JOINT}!", FINE_PROMPTED]),
    ("pea", "prompt_tune", False): ([JOINT, TUNED], [f"{JOINT}!", TUNED]),
    ("pea", "direct", True): (TWIN, THREE),
    ("pea", "fine_tune", True): ([*TWIN, FINE], [*THREE, FINE]),
    ("pea", "prompt_tune", True): ([*TWIN, TUNED], [*THREE, TUNED]),
}
"""(attack, platform, three steps) -> the clean and the attacked arm's stages."""
PLANS = list(product(BACKDOORS, [platform for platform in PLATFORMS if platform != "local"], [None, True, False]))


def parameters(attack, platform, three_steps=None, compare_clean=True):
    given = {"attack": attack, "platform": platform, "compare_clean": compare_clean}
    return {**given, "three_steps": three_steps} if attack == "pea" else given


def described(stages):
    marks = [("prompted", "P"), ("new_prompts", "N"), ("poisoned", "!")]
    found = []
    for stage in stages:
        flags = "".join(mark for name, mark in marks if getattr(stage, name))
        found.append(" ".join([stage.party, stage.name, stage.trained, *([flags] if flags else [])]))
    return found


@pytest.mark.parametrize("case", EXPECTED, ids=str)
def test_the_stages_are_those_of_the_paper(case):
    clean, attacked = EXPECTED[case]
    expected = {"local": [LOCAL], "clean": clean, **({"attacked": attacked} if attacked else {})}
    assert {arm: described(stages) for arm, stages in plans(parameters(*case)).items()} == expected


@pytest.mark.parametrize("platform", PLATFORMS)
def test_three_steps_are_for_platforms_that_tune_prompts_unless_asked_for(platform):
    empty, asked = plans(parameters("pea", platform)), plans(parameters("pea", platform, platform == "prompt_tune"))
    assert empty == asked


@pytest.mark.parametrize("attack", BACKDOORS)
def test_a_platform_on_its_own_has_one_model(attack):
    assert {arm: described(stages) for arm, stages in plans(parameters(attack, "local")).items()} == {"local": [LOCAL]}


@pytest.mark.parametrize(("attack", "platform"), list(product(BACKDOORS, PLATFORMS)))
def test_the_clean_twin_can_be_left_out_where_there_is_an_attack(attack, platform):
    with_twin = plans(parameters(attack, platform))
    kept = {arm: stages for arm, stages in with_twin.items() if arm != "clean" or attack == "none"}
    assert plans(parameters(attack, platform, compare_clean=False)) == kept


@pytest.mark.parametrize(("attack", "platform", "steps"), PLANS)
def test_the_clean_twin_is_trained_like_the_attacked_model_but_for_the_attack(attack, platform, steps):
    arms = plans(parameters(attack, platform, steps))
    trained = [replace(stage, poisoned=False) for stage in arms.get("attacked", arms["clean"])]
    assert list(arms["clean"]) == trained


@pytest.mark.parametrize(("attack", "platform", "steps"), PLANS)
def test_no_parameter_is_shared_by_two_stages_of_an_arm(attack, platform, steps):
    for stages in plans(parameters(attack, platform, steps)).values():
        assert len({stage.name for stage in stages}) == len(stages)


@pytest.mark.parametrize(("attack", "platform", "steps"), PLANS)
def test_what_holds_for_every_plan(attack, platform, steps):
    arms = plans(parameters(attack, platform, steps))
    assert all(stage.name in STAGES for stages in arms.values() for stage in stages)
    for arm, stages in arms.items():
        poisoned = [stage for stage in stages if stage.poisoned]
        assert len(poisoned) == (arm == "attacked")
        assert all(stage.party == "provider" for stage in poisoned), "a platform does not attack itself"
        parties = [stage.party for stage in stages]
        assert parties == sorted(parties, reverse=True), "the provider comes first"
        prompts = False
        for stage in stages:
            assert not stage.prompted or stage.new_prompts or prompts, "prompts come from somewhere"
            prompts = stage.prompted
        assert stages[-1].keeps_prompts == (stages[-1].prompted and stages[-1].trained in ("all", "prompts"))


@pytest.mark.parametrize(("attack", "platform", "steps"), PLANS)
def test_a_repair_comes_last_on_the_platform_with_the_prompts_that_are_in_use(attack, platform, steps):
    given = parameters(attack, platform, steps)
    plain, repaired = plans(given), plans({**given, "repair": "margin"})
    assert plain.keys() == repaired.keys() and plain["local"] == repaired["local"]
    for arm in plain.keys() - {"local"}:
        prompts = " P" if plain[arm][-1].keeps_prompts else ""
        assert described(repaired[arm]) == [*described(plain[arm]), f"platform repair items{prompts}"]
