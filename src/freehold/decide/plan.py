"""From facts to a plan: drop who cannot or must not answer, rank who is left, say why.

Eligibility first, then rank: fallback, retry and hedge choose from `attempts` only, so a failure never widens the set.
"""

from msgspec import structs

from freehold.classify.facts import Facts
from freehold.decide.cascade import cascaded
from freehold.decide.catalog import REASONS, Choice, Deployment
from freehold.decide.decision import Candidate, Drop, Plan
from freehold.decide.eligible import cannot
from freehold.decide.explore import explored
from freehold.decide.policy import USUAL, Policy
from freehold.decide.rank import enough, rank
from freehold.decide.world import World


def plan(facts: Facts, choice: Choice, world: World, policy: Policy = USUAL) -> Plan:
    """Decides. An empty `attempts` means that nobody may answer; `dropped` then says why for each."""
    members = choice.members
    if choice.alone is not None:
        only = members[0]
        if cannot(only, facts, choice.kind) is None and world.denied(only) is None and world.health(only) is None:
            return choice.alone
    if choice.slots:
        choice = choice.present(world.now)
    if choice.arms:
        return _split(facts, choice, world, policy)
    eligible, dropped = _eligible(facts, choice, world)
    if choice.kind != "auto":
        if not dropped and choice.simple:
            choice.alone = Plan(tuple(eligible), REASONS[choice.kind])
            return choice.alone
        return _unranked(eligible, dropped, REASONS[choice.kind])
    if len(eligible) < 2 and policy.price is None:
        return _unranked(eligible, dropped, REASONS["auto"], choice.name, policy)
    order, candidates, over, reason = rank(eligible, facts, policy, world, choice.name)
    propensity, by_chance = 1.0, False
    if policy.explore is not None and len(order) > 1 and policy.pin is None:
        order, candidates, propensity, by_chance = explored(
            order, candidates, policy.explore, world.chance, refused=policy.floor is None
        )
        if by_chance:
            reason = "explored by chance"
    cascade = policy.cascade if not by_chance and policy.pin is None else None
    notes: tuple[str, ...] = ()
    if cascade is not None:
        bar = policy.quality if policy.quality is not None else enough(candidates)
        found = cascaded(order, candidates, cascade, world.reliable, quality=bar)
        if isinstance(found, str):
            cascade, notes = None, (f"no cascade: {found}",)
        else:
            order, candidates, reason = list(found.order), list(found.candidates), found.reason
    return Plan(
        tuple(order),
        reason,
        (*dropped, *over),
        tuple(candidates),
        choice.name,
        policy.objective,
        propensity,
        by_chance,
        policy.hedge if len(order) > 1 else None,
        cascade,
        notes,
        world.ran,
    )


def _eligible(facts: Facts, choice: Choice, world: World) -> tuple[list[Deployment], list[Drop]]:
    eligible: list[Deployment] = []
    dropped: list[Drop] = []
    denied, health = world.denied, world.health
    for deployment in choice.members:
        reason = cannot(deployment, facts, choice.kind)
        if reason is not None:
            dropped.append(Drop(deployment.name, reason))
        elif (denial := denied(deployment)) is not None:
            dropped.append(Drop(deployment.name, *denial))
        elif (state := health(deployment)) is not None:
            dropped.append(Drop(deployment.name, state, lasting=False))
        else:
            eligible.append(deployment)
    return eligible, dropped


def _unranked(
    eligible: list[Deployment], dropped: list[Drop], reason: str, route: str = "", policy: Policy = USUAL
) -> Plan:
    if not eligible:
        reason = "nobody is eligible"
    elif dropped:
        reason += f", {len(dropped)} dropped"
    return Plan(tuple(eligible), reason, tuple(dropped), route=route, objective=policy.objective if route else "")


def _split(facts: Facts, choice: Choice, world: World, policy: Policy) -> Plan:
    """One arm by its weight; should nobody in it be able to answer, or all of it fail, the others in their order."""
    total = sum(weight for weight, _ in choice.arms)
    drawn, at = (world.lot or world.chance)() * total, 0
    for at, (weight, _) in enumerate(choice.arms):  # noqa: B007  the last one is what rounding leaves
        drawn -= weight
        if drawn < 0:
            break
    weight, arm = choice.arms[at]
    first = plan(facts, arm, world, policy)
    attempts, dropped = list(first.attempts), list(first.dropped)
    candidates = _by_chance(first, weight / total)
    for portion, other in choice.arms:
        if other is not arm:
            rest = plan(facts, other, world, policy)
            attempts += [one for one in rest.attempts if one not in attempts]
            dropped += [drop for drop in rest.dropped if drop not in dropped]
            candidates += _by_chance(rest, portion / total)
    share = f"{arm.name}: {100 * weight / total:.3g} % of {choice.name}"
    return Plan(
        tuple(attempts),
        f"split, {share}" if first.attempts else f"split, but nobody of {arm.name} is eligible",
        tuple(dropped),
        tuple(candidates),
        choice.name,
        first.objective,
        first.propensity * weight / total,
        explored=first.explored,
        hedge=first.hedge,
        cascade=first.cascade,
        notes=first.notes,
        ran=first.ran,
    )


def _by_chance(arm: Plan, share: float) -> list[Candidate]:
    """An arm's candidates with the probability of each, so that the split can be replayed as something else."""
    if arm.candidates:
        certain = len(arm.candidates) == 1 or arm.propensity == 1.0
        return [
            structs.replace(one, chance=share * (float(index == 0) if certain else one.chance))
            for index, one in enumerate(arm.candidates)
        ]
    return [Candidate(one.name, chance=share) for one in arm.attempts[:1]]
