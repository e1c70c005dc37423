"""Does a patient with many records count once? For plans whose unit is the patient.

A patient's records may all say the same, so that without a bound of their own they would move a sum k-fold; and a
sample must take all of them or none.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fedpriv_client.audit.clipping import (
    EXTREMES,
    GivenGradients,
    Silent,
    in_clips,
    moved_at_most,
    one_step,
    within_the_clip,
)
from fedpriv_client.audit.sampling import RECORDS, STEPS, membership, poisson
from fedpriv_client.audit.subject import Subject, lab_plan
from fedpriv_client.data.site_data import SiteData
from fedpriv_common.audit_result import Check
from fedpriv_common.plan import Phase, Plan
from fedpriv_common.recipes import Recipe

FloatArray = NDArray[np.float64]

#: Records of the patient who is added: within one chunk of gradients, and over several.
_RECORDS = (2, 40)
_FEATURES, _OTHERS = 12, 6
#: Records of each patient where samples are looked at.
_EACH = 4


def check_patients(subject: Subject, steps: int = STEPS) -> list[Check]:
    """How far a patient moves each recipe's sum and the centring sum, and whether samples are of whole patients."""
    fedsgd, mlp = (_of_patients(one_step(subject.plan(lab_plan(recipe, _FEATURES)))) for recipe in Recipe)
    return [
        _bounded("patients.gradients_of_logreg", subject, fedsgd, Phase.TRAIN),
        _bounded("patients.gradients_of_mlp", subject, mlp, Phase.TRAIN),
        _bounded("patients.centring", subject, fedsgd, Phase.CENTRE),
        _sampled(subject, steps),
    ]


def _of_patients(plan: Plan) -> Plan:
    return plan.model_copy(update={"unit": "patient"})


def _bounded(name: str, subject: Subject, plan: Plan, phase: Phase) -> Check:
    """The noise-free difference that one patient makes beside two others of three records each."""
    size = plan.model.n_features if phase is Phase.CENTRE else plan.model.n_parameters
    ordinary = np.linspace(-1.0, 1.0, _OTHERS * size).reshape(_OTHERS, size)
    moves: dict[str, float] = {}
    for kind, value in EXTREMES.items():
        for count in _RECORDS:
            alike = np.full((count, size), value)
            mixed = alike.copy()
            mixed[::2] = 0.1
            for rows in (alike, mixed):
                released = [
                    _silent(subject, plan, phase, np.vstack([ordinary, rows[:number]])) for number in (count, 0)
                ]
                moved_at_most(moves, f"{count} records, {kind}", in_clips(plan, phase, released[0] - released[1]))
    return within_the_clip(name, "no patient, of however many records,", moves)


def _silent(subject: Subject, plan: Plan, phase: Phase, rows: FloatArray) -> FloatArray:
    """The release of two patients of three records each, and of a third of all the others."""
    patients = np.minimum(np.arange(len(rows)) // 3, 2)
    z = rows if phase is Phase.CENTRE else np.zeros((len(rows), plan.model.n_features))
    data = SiteData(z=z, labels=np.arange(len(rows)), patients=patients)
    trainer = subject.trainer(plan, data, Silent(), GivenGradients(rows))
    return trainer.release(phase, np.zeros(plan.model.n_parameters), np.zeros(plan.model.n_features))


def _sampled(subject: Subject, steps: int) -> Check:
    """Mini-batches of a table in which every patient has four records, not next to each other."""
    count = RECORDS // _EACH
    patients = np.arange(RECORDS) % count
    taken, rate = membership(subject, steps, patients)
    of_patient = taken.reshape(len(taken), _EACH, count).sum(axis=1)
    split = int(((of_patient > 0) & (of_patient < _EACH)).sum())
    check = poisson("patients.sampling", of_patient > 0, rate)
    return check.model_copy(
        update={
            "expects": f"all records of a patient are in a step or none; of patients: {check.expects}",
            "passed": check.passed and split == 0,
            "figures": check.figures | {"patients_taken_in_part": split},
        }
    )
