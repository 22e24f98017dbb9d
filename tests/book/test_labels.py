"""Every exercise and every piece of pseudocode of the book, by its label."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from rlcourse.labs import verdict

ROOT = Path(__file__).resolve().parents[2]
TEXT = "\n".join(page.read_text("utf-8") for page in sorted((ROOT / "book").rglob("*.md")))

# label -> the check that judges it
EXERCISES = {
    "ex-intro-timeline": "intro/timeline",
    "ex-intro-kinds": "intro/kinds",
    "ex-intro-games": "intro/games-per-day",
    "ex-intro-verdict": "intro/verdict",
    "ex-intro-hunt": "intro/hunt",
    "ex-loop-return": "loop/return",
    "ex-loop-endings": "loop/endings",
    "ex-loop-bootstrap": "loop/bootstrap",
    "ex-loop-cartpole": "loop/cartpole",
    "ex-loop-goal": "loop/goal-probability",
    "ex-loop-teleport": "loop/teleport",
    "ex-mdp-machine": "mdp/machine",
    "ex-mdp-goal": "mdp/goal-probability",
    "ex-mdp-reward": "mdp/reward",
    "ex-mdp-mortal": "mdp/mortal",
    "ex-mdp-turn": "mdp/last-turn",
    "ex-mdp-hunt": "mdp/hunt-terminal",
    "ex-bellman-by-hand": "bellman/by-hand",
    "ex-bellman-backup": "bellman/backup",
    "ex-bellman-bounds": "bellman/bounds",
    "ex-bellman-improve": "bellman/improve",
    "ex-bellman-taxi": "bellman/taxi",
    "ex-bellman-alarm": "bellman/alarm",
    "ex-q-td-errors": "q_learning/td-errors",
    "ex-q-returns": "q_learning/returns",
    "ex-q-target": "q_learning/target",
    "ex-q-expected": "q_learning/expected",
    "ex-q-double": "q_learning/double",
    "ex-q-hunt": "q_learning/hunt-window",
    "ex-approx-by-hand": "approximation/by-hand",
    "ex-approx-tiles": "approximation/tiles",
    "ex-approx-semi": "approximation/semi-gradient",
    "ex-approx-oracle": "approximation/oracle",
    "ex-approx-tdc": "approximation/tdc",
    "ex-approx-hunt": "approximation/hunt",
    "ex-dqn-normalised": "dqn/normalised",
    "ex-dqn-target": "dqn/target",
    "ex-dqn-ring": "dqn/ring",
    "ex-dqn-huber": "dqn/huber",
    "ex-dqn-depth": "dqn/depth",
    "ex-dqn-own-loss": "dqn/own-loss",
    "ex-dqn-hunt": "dqn/hunt-copy",
    "ex-rainbow-double": "rainbow/double-target",
    "ex-rainbow-noise": "rainbow/noise",
    "ex-rainbow-n-step": "rainbow/n-step",
    "ex-rainbow-weights": "rainbow/weights",
    "ex-rainbow-tree": "rainbow/tree",
    "ex-rainbow-project": "rainbow/project",
    "ex-rainbow-hunt": "rainbow/hunt",
    "ex-pg-score": "policy_gradients/score",
    "ex-pg-weights": "policy_gradients/weights",
    "ex-pg-neighbours": "policy_gradients/neighbours",
    "ex-pg-best": "policy_gradients/best",
    "ex-pg-density": "policy_gradients/density",
    "ex-pg-theorem": "policy_gradients/theorem",
    "ex-pg-hunt": "policy_gradients/hunt",
    "ex-ac-by-hand": "actor_critic/by-hand",
    "ex-ac-loss": "actor_critic/loss",
    "ex-ac-gae": "actor_critic/gae",
    "ex-ac-judge": "actor_critic/judge",
    "ex-ac-waiting": "actor_critic/waiting",
    "ex-ac-variance": "actor_critic/variance",
    "ex-ac-hunt": "actor_critic/hunt",
    "ex-ppo-by-hand": "ppo/by-hand",
    "ex-ppo-loss": "ppo/loss",
    "ex-ppo-explained": "ppo/explained",
    "ex-ppo-normalise": "ppo/normalise",
    "ex-ppo-kl": "ppo/kl",
    "ex-ppo-natural": "ppo/natural",
    "ex-ppo-hunt": "ppo/hunt",
    "ex-sac-by-hand": "sac/by-hand",
    "ex-sac-units": "sac/units",
    "ex-sac-judge": "sac/judge",
    "ex-sac-buttons": "sac/buttons",
    "ex-sac-thermostat": "sac/thermostat",
    "ex-sac-price": "sac/price",
    "ex-sac-hunt": "sac/hunt",
    "ex-choose-duels": "choosing/duels",
    "ex-choose-normalise": "choosing/normalise",
    "ex-choose-seeds": "choosing/seeds",
    "ex-choose-profile": "choosing/profile",
    "ex-choose-price": "choosing/price",
    "ex-choose-hunt": "choosing/hunt",
    "ex-play-by-hand": "playground/by-hand",
    "ex-play-paired": "playground/paired",
    "ex-play-trend": "playground/trend",
    "ex-play-honest": "playground/honest",
    "ex-play-world": "playground/world",
    "ex-play-hunt": "playground/hunt",
    "ex-rewards-by-hand": "rewards/by-hand",
    "ex-rewards-bonus": "rewards/bonus",
    "ex-rewards-luck": "rewards/luck",
    "ex-rewards-honest": "rewards/honest",
    "ex-rewards-race": "rewards/race",
    "ex-rewards-hunt": "rewards/hunt",
    "ex-mazes-by-hand": "mazes/by-hand",
    "ex-mazes-fates": "mazes/fates",
    "ex-mazes-leak": "mazes/leak",
    "ex-mazes-sweep": "mazes/sweep",
    "ex-mazes-hunt": "mazes/hunt",
    "ex-agents-by-hand": "many_agents/by-hand",
    "ex-agents-told": "many_agents/told",
    "ex-agents-target": "many_agents/target",
    "ex-agents-gap": "many_agents/gap",
    "ex-agents-symmetry": "many_agents/symmetry",
    "ex-agents-hunt": "many_agents/hunt",
    "ex-bandits-by-hand": "bandits/by-hand",
    "ex-bandits-index": "bandits/index",
    "ex-bandits-constant": "bandits/constant",
    "ex-bandits-known": "bandits/known",
    "ex-bandits-replay": "bandits/replay",
    "ex-bandits-hunt": "bandits/hunt",
    "ex-atari-by-hand": "atari/by-hand",
    "ex-atari-eye": "atari/eye",
    "ex-atari-successor": "atari/successor",
    "ex-atari-list": "atari/list",
    "ex-atari-freeway": "atari/freeway",
    "ex-atari-hunt": "atari/hunt",
    "ex-rec-by-hand": "recommender/by-hand",
    "ex-rec-cut": "recommender/cut",
    "ex-rec-sampled": "recommender/sampled",
    "ex-rec-robust": "recommender/robust",
    "ex-rec-hunt": "recommender/hunt",
}
# label -> the functions of the package that the page shows beside the pseudocode
ALGORITHMS = {
    "alg-loop": "run_episode",
    "alg-mdp-evaluate": "solve_chain",
    "alg-value-iteration": "value_iteration",
    "alg-policy-iteration": "policy_iteration",
    "alg-one-step-control": "train",
    "alg-tdc": "tdc",
    "alg-dqn": "train",
    "alg-rainbow": "train",
    "alg-reinforce": "update",
    "alg-a2c": "update",
    "alg-a3c": "stretch",
    "alg-ppo": "update",
    "alg-sac": "update",
    "alg-play-paired": "play_episode",
    "alg-shaping": "step",
    "alg-planner": "train",
    "alg-ippo": "train",
    "alg-self-play": "train",
    "alg-bandit": "play",
    "alg-recommender": "sequence_loss",
}
# label -> the work that proves it
THEOREMS = {"thm-q-converges": "watkins1992"}


def labels(kind: str) -> set[str]:
    return set(re.findall(rf"^:label: ({kind}-[\w-]+)$", TEXT, re.MULTILINE))


def after(label: str) -> str:
    """The page from a label on."""
    return TEXT[re.search(rf"^:label: {label}$", TEXT, re.MULTILINE).end() :]  # type: ignore[union-attr]


def test_every_exercise_is_known() -> None:
    assert labels("ex") == set(EXERCISES)
    assert labels("alg") == set(ALGORITHMS)
    assert labels("thm") == set(THEOREMS)


@pytest.mark.parametrize("label", EXERCISES)
def test_an_exercise_has_its_check_and_its_solution(label: str) -> None:
    calls = re.findall(r'check\("([\w/-]+)"', after(label))
    assert calls[0] == EXERCISES[label]
    assert verdict(EXERCISES[label]).passed is None, "an exercise that nobody has begun"
    assert len(re.findall(rf"\{{solution\}} {label}$", TEXT, re.MULTILINE)) == 1


@pytest.mark.parametrize("label", ALGORITHMS)
def test_pseudocode_stands_beside_the_lines_that_run(label: str) -> None:
    """In the same section the page shows the function, or defines and runs it."""
    before, behind = TEXT[: -len(after(label))], after(label)
    section = before.rsplit("\n## ", 1)[1] + behind.split("\n## ")[0]
    name = ALGORITHMS[label]
    assert re.search(rf"show(_diff)?\([^)]*\b{name}\b|def {name}\(", section), section[:500]


@pytest.mark.parametrize("label", THEOREMS)
def test_a_theorem_without_a_proof_names_its_source(label: str) -> None:
    assert f"`{THEOREMS[label]}`" in TEXT[: -len(after(label))][-200:] + after(label)[:1500]
