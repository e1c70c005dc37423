"""The data contracts that plans can be made of: those that come with fedpriv, and those of the settings.

What a run was planned with is in the bucket only as a digest, so a plan needs the contract itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from fedpriv_common.contract import BUILT_IN, DataContract, load_contract
from fedpriv_common.errors import ErrorCode, FedprivError

#: By data set, `name@version`.
Contracts = Mapping[str, DataContract]


def load_contracts(sources: Iterable[str] = ()) -> Contracts:
    """The built-in contracts and those in the files `sources`. Raises BAD_CONTRACT for one that cannot be read, and
    for two different ones of a data set."""
    found: dict[str, DataContract] = {}
    for source in [*BUILT_IN, *sources]:
        contract = load_contract(source)
        if found.setdefault(contract.dataset, contract) != contract:
            raise FedprivError(
                ErrorCode.BAD_CONTRACT,
                f"Data contract {source}: there is another one of {contract.dataset}.",
                "Give a contract that differs another version.",
            )
    return found


def find_contract(contracts: Contracts, wanted: str | None) -> DataContract | None:
    """The contract of the data set `wanted`, by its name alone the one that was named last; None when there is none.
    Without `wanted`, the first."""
    if wanted is None:
        return next(iter(contracts.values()), None)
    if wanted in contracts:
        return contracts[wanted]
    return next((contract for contract in reversed([*contracts.values()]) if contract.name == wanted), None)
