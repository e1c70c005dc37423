"""The objects of a run and how they are told from what is none: shared with the server, see fedpriv_common.objects."""

from fedpriv_common.objects import KINDS, MAX_ROUND, MalformedObjectError, Parsed, StoredObject, kind_of, parse

__all__ = ["KINDS", "MAX_ROUND", "MalformedObjectError", "Parsed", "StoredObject", "kind_of", "parse"]
