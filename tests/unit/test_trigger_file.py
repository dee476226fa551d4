"""Trigger rules are refused with file, line and what to write instead; the running ones stay."""

from pathlib import Path

import pytest

from afterclick.errors import TriggerRulesError
from afterclick.trigger_file import CatalogueChange, kind_of, read_rules, running_rules
from afterclick.trigger_rules import CartAbandonment, RepeatedVisits

CART = "rules:\n  - name: left\n    kind: cart_abandonment\n    after: 30m\n"


def test_the_shipped_rules_are_valid() -> None:
    rules = read_rules(Path("conf/triggers.yaml").read_text(encoding="utf-8"), "conf/triggers.yaml")

    assert [kind_of(rule) for rule in rules] == [
        "cart_abandonment", "repeated_visits", "return_after_absence", "condition", "price_drop", "back_in_stock",
    ]  # fmt: skip
    assert isinstance(rules[4], CatalogueChange)


def test_defaults_and_units() -> None:
    day = 86_400_000_000

    assert read_rules(CART, "f") == (CartAbandonment("left", day, 1_800_000_000, day),)
    visits = "rules:\n  - {name: v, kind: repeated_visits, times: 3, within: 1.5h, cooldown: 90s}\n"
    assert read_rules(visits, "f") == (RepeatedVisits("v", 90_000_000, "item", 3, 5_400_000_000),)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (CART.replace("after", "aftr"), "f:4: cart_abandonment has no field 'aftr'; did you mean 'after'?"),
        (CART.replace("30m", "30 minutes"), "f:4: after: '30 minutes' is not a duration with one of the units"),
        (CART.replace("30m", "0m"), "f:4: after: '0m' must be more than nothing"),
        (CART.replace("cart_abandonment", "cart_abandoned"), "f:3: kind 'cart_abandoned' is unknown; did you mean"),
        (CART.replace("    kind: cart_abandonment\n", ""), "f:2: kind is missing"),
        (CART.replace("    after: 30m\n", ""), "f:2: after is missing"),
        (CART + CART.replace("rules:\n", ""), "f:5: the name 'left' is used twice"),
        ("rules:\n  - {name: c, kind: condition, when: view_30m > 1}", "unknown variable 'view_30m'; did you mean 'views_30m'?"),
        ("rules:\n  - {name: c, kind: condition, when: views_30m < 0}", "f:2: 'views_30m < 0' can never hold"),
        ("rules:\n  - {name: c, kind: condition, when: views_30m > views_2h}", "can never hold"),
        ("rules:\n  - {name: c, kind: condition, when: views_30m == 1.5}", "can never hold"),
        ("rules:\n  - {name: c, kind: condition, when: views_30m >}", "is not a condition"),
        ("rules:\n  - {name: c, kind: condition, when: 1 > 0}", "reads no aggregate"),
        ("rules:\n  - {name: c, kind: condition, when: 'views_30m.real > 0'}", "is not a condition"),
        ("rules:\n  - {name: c, kind: condition, when: 'open(views_30m)'}", "Call does not belong to the language"),
        ("rules:\n  - {name: c, kind: price_drop, by_percent: 120, within: 1d}", "f:2: by_percent: '120' must be a percentage"),
        ("rules:\n  - {name: v, kind: repeated_visits, times: 1, within: 1d}", "f:2: times: '1' must be a whole number"),
        ("rules:\n  - left", "f:2: a rule has fields"),
        ("rule:\n  - left", "f:1: 'rule' is not expected here"),
        ("- left", "f:1: expected `rules:`"),
        ("rules: [", "f:1: not YAML"),
    ],
)  # fmt: skip
def test_a_mistake_is_refused_with_its_line(text: str, told: str) -> None:
    with pytest.raises(TriggerRulesError) as caught:
        read_rules(text, "f")

    assert told in str(caught.value)


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(TriggerRulesError) as caught:
        read_rules(CART.replace("after: 30m", "aftr: 30m\n    cooldown: 1w"), "f")

    assert [part.split(" ")[0] for part in str(caught.value).split("; ") if part.startswith("f:")] == ["f:5:", "f:2:"]


def test_running_rules_stay_when_the_file_is_broken_or_away(tmp_path: Path) -> None:
    file = tmp_path / "triggers.yaml"
    file.write_text(CART)
    first = running_rules(str(file), "")

    file.write_text(CART.replace("30m", "never"))
    broken = running_rules(str(file), first.text)
    file.unlink()
    away = running_rules(str(file), broken.text)
    file.write_text(CART.replace("30m", "1h"))
    mended = running_rules(str(file), away.text)

    assert first == broken == away
    assert mended.rules == (CartAbandonment("left", 86_400_000_000, 3_600_000_000, 86_400_000_000),)
    assert running_rules(None, CART) == ((), "")
