"""The guarantee in plain words. Every sentence follows from plan, contract and parts, so that whoever checks a
statement can tell that none was changed and none is missing."""

from __future__ import annotations

from collections.abc import Sequence

from fedpriv_common.contract import DataContract
from fedpriv_common.plan import Plan
from fedpriv_common.recipes import spell_strategy
from fedpriv_common.records import PublicValidation
from fedpriv_common.rounding import spell_spent
from fedpriv_common.statement.schema import Section, Words

_TRUST_MODEL = (
    "Each site protects its own records, before anything leaves it, against everyone outside of it: the server, "
    "whatever the server does, the other sites, every reader of what is stored, and all of them together. What is "
    "trusted: the site's own machine, staff and image, and its key. Nothing is taken off epsilon because a sum is all "
    "that the server should look at, or because not every site takes part."
)
_ACCOUNTANT = (
    "Recomputed from the ledger's entries, never added up: exactly for full batches (Balle and Wang 2018), else the "
    "smaller of two upper bounds, by privacy loss distributions (dp-accounting, interval 1e-4) and by Rényi divergence."
)
_COMPOSITION = (
    "Each site has one ledger for its data set. Every release of every run is in it for good, charged before it was "
    "computed and never refunded; the lifetime's epsilon composes all of them. Each site's epsilon holds for a record "
    "that only this site holds."
)
_RANDOMNESS = (
    "Noise and sampling come from the operating system's cryptographic generator and cannot be seeded. A normal draw "
    "is the sum of four, in 64-bit floating point; a geometric one is exact, in whole numbers."
)
_NOT_PROTECTED = (
    "That a site takes part, that it does not answer, and how long it takes where that is longer than the plan's "
    "minimum.",
    "The data contract, the declared number of records, the recipe, epsilon and delta: people chose them.",
    "What the model says about people in general: if it learns that a mark means an illness, it says so of everyone "
    "who has the mark, whether or not they are in the data.",
    "A record that more than one site holds: the epsilons of those sites add up.",
    "What a site itself does with its records, what leaves it by another way, and who has access to its machine.",
    "A ledger that a site's operator and the hub's operator set back together.",
)
_RECORDS_OF_ONE_PERSON = (
    "A person with several records: the unit is one record. With k records, epsilon is k times as large and more."
)
_PATIENT_OF_TWO_SITES = "A patient with records at more than one site: the epsilons of those sites add up."


def make_words(
    plan: Plan, contract: DataContract, public_validation: PublicValidation | None, sections: Sequence[Section]
) -> Words:
    """The sentences of a statement."""
    return Words(
        guarantee=_guarantee(plan),
        trust_model=_TRUST_MODEL,
        accountant=_ACCOUNTANT,
        composition=_COMPOSITION,
        randomness=_RANDOMNESS,
        sampling=_sampling(plan),
        clipping=_clipping(plan),
        preprocessing=_preprocessing(contract),
        evaluation=_evaluation(plan, public_validation),
        hyper_parameters=_hyper_parameters(plan, public_validation),
        not_protected=(*_NOT_PROTECTED, *_of_one_person(plan), *_of_sections(sections)),
    )


def spell_delta(value: float) -> str:
    """1e-5, not 1e-05."""
    mantissa, exponent = f"{value:.0e}".split("e")
    return f"{mantissa}e{int(exponent)}" if float(f"{value:.0e}") == value else f"{value:g}"


def _guarantee(plan: Plan) -> str:
    return (
        f"Whether any one {plan.unit} of a site is in its data or not makes little difference to all that the site "
        f"sent in this run, whoever looks at it: epsilon at most {spell_spent(plan.epsilon)} at delta "
        f"{spell_delta(plan.delta)}, under add/remove of one {plan.unit}."
    )


def _of_one_person(plan: Plan) -> tuple[str, ...]:
    return (_RECORDS_OF_ONE_PERSON,) if plan.unit == "record" else (_PATIENT_OF_TWO_SITES,)


def _sampling(plan: Plan) -> str:
    if plan.train.sample_rate == 1.0:
        return f"None: every step uses every {plan.unit} of the training data, and claims nothing for sampling."
    return (
        f"Poisson: each step takes each {plan.unit} with probability {plan.train.sample_rate:.4g}, independently, and "
        "keeps which it took to itself. An empty sample is a step of noise alone."
    )


def _clipping(plan: Plan) -> str:
    centre = "" if plan.centre is None else f" (features in the centring sum: {plan.centre.max_grad_norm:.4g})"
    mean = "" if plan.unit == "record" else ", and for each patient the mean over all their records is added"
    return (
        f"The gradient of each record is cut to length {plan.train.max_grad_norm:.4g}{centre} before it is "
        f"added{mean}; one that is not a finite number counts as zero. Noise is relative to this length. Steps, "
        "sampling rate and divisor are constants of the plan and do not depend on how many records there are."
    )


def _preprocessing(contract: DataContract) -> str:
    return (
        f"Each of {contract.n_features} features is mapped from the range that the data contract declares; what lies "
        "outside is set to its edge, what is missing to the declared default. Nothing was fitted on records, so this "
        "costs no epsilon."
    )


def _evaluation(plan: Plan, public: PublicValidation | None) -> str:
    held_out = "On records of the sites: none. "
    if (planned := plan.evaluate) is not None:
        rounds = ", ".join(str(number) for number in planned.at)
        of = "held-out records" if plan.unit == "record" else "one held-out record of each patient"
        held_out = (
            f"On {of}, after round {rounds}: counts of right and wrong answers by class, with geometric "
            f"noise, epsilon {spell_spent(planned.epsilon, 4)} each. They cost the held-out records, which are in no "
            "training step; a site that holds none out, or has spent their budget, releases no counts. "
        )
    if public is None:
        return f"{held_out}On public records: none."
    return (
        f"{held_out}On {public.size} public records ({public.name}) that no site trains on: accuracy, loss and AUC of "
        "each round, which cost no epsilon."
    )


def _hyper_parameters(plan: Plan, public: PublicValidation | None) -> str:
    # A recipe's own strategy goes without saying: statements of it keep the words that they were signed with.
    if plan.strategy == plan.recipe.default_strategy and not plan.strategy_options:
        chosen = ""
    else:
        strategy = spell_strategy(plan.strategy, plan.strategy_options)
        chosen = f" The operator chose the strategy {strategy}, which works on noisy values only and costs no epsilon."
    curve = "" if public is None else " The curve on public records was shown; it chose no round and no setting."
    return (
        "Rounds, noise, clipping length and step sizes follow by formula from what the operator asked for, the "
        "declared size and the contract, before any record was used. Every earlier trial on the same data is a run in "
        "the ledger and counts in the lifetime's epsilon. The published model was fixed by the plan, not chosen among "
        f"several.{curve}{chosen}"
    )


def _of_sections(sections: Sequence[Section]) -> tuple[str, ...]:
    lines = []
    for section in sections:
        if section.signed is None:
            lines.append(
                f"{section.site} did not answer the end of the run: what is said of it is what it last told the hub, "
                "signed by nobody."
            )
        elif (overran := section.signed.part.timing.overran) > 0:
            lines.append(
                f"The time of {overran} of the answers of {section.site}: they took longer than the plan's minimum."
            )
    return tuple(lines)
