"""Parameters have one spelling: what is the same value is the same key, and is paid once."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from copperplate.processing_models import NumberParameter
from copperplate.source_errors import InvalidParameter

NUMBER = NumberParameter(name="n", default=Decimal("0.5"), least=Decimal(-8), most=Decimal(8), decimals=2)
# Numbers of few digits, in every way to write them.
SPELLED = st.from_regex(r"\A[+-]?(0{0,3}[0-8]?\.?[0-9]{0,2}0{0,2})(E[+-]?[0-3])?\Z") | st.decimals(-8, 8, places=2).map(
    str
)


def spelling_of(value: str) -> str | None:
    """None where it is refused."""
    try:
        return NUMBER.canonical(value)
    except InvalidParameter:
        return None


def is_offered(value: str) -> bool:
    try:
        number = Decimal(value)
    except InvalidOperation:
        return False
    return -8 <= number <= 8 and number == round(number, 2)


@given(SPELLED, SPELLED)
@example("0", "-0")
@example("-0.0", ".0")
@example("0E+3", "0E-3")
@example("1E-1", "+.10")
def test_two_values_are_spelled_alike_where_they_are_the_same_number_and_only_there(one: str, other: str) -> None:
    spelled = spelling_of(one), spelling_of(other)
    assert tuple(each is not None for each in spelled) == (is_offered(one), is_offered(other))
    if None not in spelled:
        assert (spelled[0] == spelled[1]) is (Decimal(one) == Decimal(other))


@pytest.mark.parametrize("value", ["0", "-0", "+0", "-0.00", "0E+9", "-0E-9", "0E+999999"])
def test_zero_is_spelled_without_a_sign(value: str) -> None:
    assert NUMBER.canonical(value) == "0"
