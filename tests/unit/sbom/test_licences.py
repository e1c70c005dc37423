"""A licence is what the package states, else what was read in review, else unknown; unknown is not accepted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.sbom.inventory import Package
from scripts.sbom.licences import Policy, Review, canonical

POLICY = Policy(
    allowed=frozenset({"MIT", "ISC", "Apache-2.0 WITH LLVM-exception"}),
    reviews={
        "certifi": Review("MPL-2.0", "a list"),
        "silent": Review("ISC", "its file says so"),
    },
)
ALLOWED = st.sampled_from(sorted(POLICY.allowed))
OTHERS = st.sampled_from(
    ["GPL-3.0-only", "MPL-2.0", "LGPL-2.1-or-later", "Apache-2.0", "GPL-2.0-only WITH GCC-exception-2.0"]
)


def stating(*statements: str, name: str = "any", kind: str = "pypi") -> Package:
    return Package(kind, name, "1", statements)


@given(st.lists(st.one_of(ALLOWED, OTHERS), min_size=1, max_size=5))
def test_of_alternatives_one_must_be_allowed_of_licences_together_all(licences):
    allowed = [licence in POLICY.allowed for licence in licences]
    assert POLICY.accepts(stating(" OR ".join(licences))) == any(allowed)
    assert POLICY.accepts(stating(" AND ".join(licences))) == all(allowed)


@given(st.lists(ALLOWED, min_size=1, max_size=3), st.lists(OTHERS, min_size=1, max_size=3))
def test_an_alternative_inside_does_not_excuse_what_applies_as_well(good, bad):
    assert POLICY.accepts(stating(f"({' OR '.join(good + bad)}) AND {good[0]}"))
    assert not POLICY.accepts(stating(f"({' OR '.join(good)}) AND ({' AND '.join(bad)})"))


@given(st.text(max_size=200), st.sampled_from(["pypi", "npm", "cargo", "native", "rpm", "generic"]))
def test_whatever_a_package_states_it_is_judged_and_never_accepted_by_accident(statement, kind):
    licence = POLICY.licence(stating(statement, kind=kind))
    if POLICY.accepts(stating(statement, kind=kind)):
        assert canonical(statement) == licence
    else:
        assert licence is None or licence not in POLICY.allowed


@pytest.mark.parametrize(
    "statement", ["BSD", "UNKNOWN", "MIT License", "MIT/Apache-2.0", "", "See LICENSE\nMIT", "LicenseRef-x"]
)
def test_what_is_no_spdx_expression_is_unknown(statement):
    assert canonical(statement) is None
    assert not POLICY.accepts(stating(statement))


def test_expressions_have_one_spelling():
    assert canonical("mit or (apache-2.0)") == canonical("Apache-2.0 OR MIT") == "Apache-2.0 OR MIT"


def test_the_first_expression_is_the_statement():
    assert POLICY.licence(stating("Copyright (c) 2001 …", "ISC", "MIT")) == "ISC"


def test_a_review_speaks_where_the_package_is_silent():
    assert POLICY.licence(stating("BSD", name="silent")) == "ISC"
    assert POLICY.accepts(stating("BSD", name="silent"))
    assert POLICY.exception(stating("BSD", name="silent")) is None


def test_a_review_accepts_what_was_read_for_this_package_alone():
    assert POLICY.exception(stating("MPL-2.0", name="certifi")) == POLICY.reviews["certifi"]
    assert POLICY.accepts(stating("MPL-2.0", name="certifi"))
    assert not POLICY.accepts(stating("MPL-2.0", name="other"))


def test_a_package_that_changes_its_licence_loses_its_review():
    assert not POLICY.accepts(stating("GPL-3.0-only", name="certifi"))
    assert not POLICY.accepts(stating("GPL-3.0-only", name="silent"))


def test_the_base_images_packages_are_listed_and_not_judged():
    package = stating("GPL-2+", "BSD-3-clause", kind="deb")
    assert POLICY.accepts(package)
    assert POLICY.licence(package) == "GPL-2+, BSD-3-clause"


def test_the_projects_policy_is_written_in_spdx_and_gives_its_reasons():
    policy = Policy.load()
    assert policy.allowed
    assert {canonical(licence) for licence in policy.allowed} == policy.allowed
    for name, review in policy.reviews.items():
        assert canonical(review.licence) == review.licence, name
        assert review.reason.endswith("."), name


@pytest.mark.parametrize(
    "licence", ["GPL-3.0-only", "AGPL-3.0-only", "LGPL-2.1-or-later", "MPL-2.0", "EPL-2.0", "SSPL-1.0"]
)
def test_the_projects_policy_allows_no_copyleft_in_general(licence):
    assert not Policy.load().accepts(stating(licence))
