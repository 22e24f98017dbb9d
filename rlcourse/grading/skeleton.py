"""The lab that ``rlcourse lab new`` writes: small, whole, and sound."""

from __future__ import annotations

__all__ = ["skeleton"]

MASTER = '''# ---
# lab: NAME
# title: TITLE
# minutes: 60
# extras: ""
# version: 1
# ---

# %% [markdown]
# # TITLE
#
# What the reader will be able to do after this lab, in one sentence.

# %%
import numpy as np

# %% [markdown]
# ## 1. The discounted return
#
# Rewards $r_1, r_2, \\dots, r_T$ are worth $r_1 + \\gamma r_2 + \\gamma^2 r_3 + \\dots$
#
# Write `discounted_return(rewards, gamma)`.
# It takes an array of $T$ rewards and a number between 0 and 1, and returns a number.
# By hand: the rewards 1, 2, 4 with $\\gamma = 0.5$ are worth $1 + 1 + 1 = 3$.

# %% tags=["task"] q="return"
def discounted_return(rewards, gamma):
    """What ``rewards`` [T] are worth at their beginning."""
    # BEGIN SOLUTION
    total = 0.0
    for reward in reversed(rewards):
        total = reward + gamma * total
    return float(total)
    # END SOLUTION

# %% tags=["test"] q="return" points=6
def test_return_by_hand(discounted_return):
    """The rewards 1, 2, 4 with a discount of one half are worth 3."""
    got = discounted_return(np.array([1.0, 2.0, 4.0]), 0.5)
    expect(got, 3.0, look="which reward is discounted how often")

# %% tags=["test"] q="return" points=8 hidden=true
def test_return_of_many(discounted_return, rng):
    """Twenty series of rewards, against the sum written out."""
    for _ in range(20):
        rewards, gamma = rng.normal(size=rng.integers(2, 30)), rng.uniform(0.2, 1.0)
        wanted = np.sum(rewards * gamma ** np.arange(len(rewards)))
        expect(discounted_return(rewards, float(gamma)), wanted, look="the power of the discount")

# %% tags=["mutant"] q="return" kills="test_return_by_hand test_return_of_many"
def discounted_return(rewards, gamma):
    """The discount begins one step early."""
    return float(np.sum(rewards * gamma ** np.arange(1, len(rewards) + 1)))

# %% tags=["mutant"] q="return" kills="test_return_by_hand test_return_of_many"
def discounted_return(rewards, gamma):
    """The series is read from its wrong end."""
    return float(np.sum(rewards[::-1] * gamma ** np.arange(len(rewards))))

# %% tags=["trial"] q="return"
if written(discounted_return):
    for gamma in (0.0, 0.5, 0.9):
        print(gamma, discounted_return(np.ones(10), gamma))

# %% [markdown] tags=["instructor"]
# Usual misunderstandings, and how long each task takes.
'''

RUBRIC = """# TITLE: marked by hand

## A short answer (4 points)
4: the right claim, and evidence from a run of one's own. 2: one of the two. 0: neither.

## A plot (2 points)
2: axes named, at least five seeds, their spread shown. 1: two of the three.
"""


def skeleton(name: str) -> dict[str, str]:
    """The files of a new lab.

    >>> sorted(skeleton("my-lab"))
    ['lab.py', 'rubric.md']
    """
    title = name.replace("-", " ").capitalize()
    files = {"lab.py": MASTER, "rubric.md": RUBRIC}
    return {
        file: text.replace("NAME", name).replace("TITLE", title) for file, text in files.items()
    }
