"""What the book claims stands: every contract measured, by the code as it is, and met."""

from __future__ import annotations

import pytest

from rlcourse import evidence


@pytest.fixture(scope="module")
def rows() -> dict[str, evidence.Row]:
    return {row.contract.id: row for row in evidence.check()}


@pytest.mark.parametrize("name", evidence.contracts())
def test_a_contract_is_met(name: str, rows: dict[str, evidence.Row]) -> None:
    row = rows[name]
    assert row.state == "met", f"{name} is {row.state}: run `rlcourse evidence run {name}`"


@pytest.mark.parametrize("name", evidence.contracts())
def test_a_contract_is_over_ten_seeds_or_more_and_says_where_its_threshold_comes_from(
    name: str,
) -> None:
    """Five where one takes a million steps or two minutes, three of a robot that takes an hour each: their pages
    say so."""
    contract = evidence.contracts()[name]
    source = evidence.contracts().get(contract.options.get("of", ""), contract)
    robot, steps = "MuJoCo" in contract.environment, contract.config.get("steps", 0)
    each = evidence.load(source.id)["seconds"] / source.seeds
    fewest = 3 if robot and steps else 5 if steps >= 1_000_000 or each >= 120 else 10
    assert contract.seeds >= fewest
    assert contract.oracle and contract.claim and contract.environment
