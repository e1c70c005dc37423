"""The put-once store on a real S3: what goes over the wire, and what a second writer meets."""

import pytest

from fedpriv_common.errors import ErrorCode, FedprivError
from fedpriv_common.store import ObjectStore, PutOutcome
from tests.memory_store import MemoryStore


def test_every_put_is_conditional_checked_and_encrypted_with_the_customer_key(object_store):
    sent = []
    object_store.client.meta.events.register(
        "before-send.s3.PutObject", lambda request, **_: sent.append(dict(request.headers))
    )
    assert object_store.put_once("v1/a.json", b"{}") is PutOutcome.CREATED
    (headers,) = ({name.lower(): value for name, value in each.items()} for each in sent)
    text = {name: value.decode() if isinstance(value, bytes) else value for name, value in headers.items()}
    assert text["if-none-match"] == "*"
    assert text["x-amz-server-side-encryption"] == "aws:kms"
    assert text["x-amz-server-side-encryption-aws-kms-key-id"] == object_store.kms_key_id
    assert text["x-amz-checksum-sha256"]
    stored = object_store.client.head_object(Bucket=object_store.bucket, Key="v1/a.json")
    assert stored["SSEKMSKeyId"].endswith(object_store.kms_key_id.rsplit("/", 1)[-1])


def test_writing_again_is_nothing_and_writing_otherwise_is_a_conflict(object_store):
    object_store.put_once("v1/a.json", b"one")
    assert object_store.put_once("v1/a.json", b"one") is PutOutcome.ALREADY_THERE
    with pytest.raises(FedprivError) as raised:
        object_store.put_once("v1/a.json", b"two")
    assert raised.value.code is ErrorCode.STORE_CONFLICT
    assert object_store.get("v1/a.json") == b"one"
    assert object_store.get("v1/b.json") is None
    assert list(object_store.list_keys("v1/")) == ["v1/a.json"]


def test_the_store_in_memory_that_long_histories_are_tested_with_is_like_the_real_one(
    object_store: ObjectStore,
) -> None:
    memory = MemoryStore()

    def told(store: ObjectStore) -> list[object]:
        keys = [f"v1/runs/{run}/{name}.json" for run in "AB" for name in ("end", "events/1", "records/1/a", "run")]
        outcomes: list[object] = [store.put_once(key, key.encode()) for key in keys]
        outcomes.append(store.put_once(keys[0], keys[0].encode()))
        with pytest.raises(FedprivError) as refused:
            store.put_once(keys[0], b"other")
        outcomes += [refused.value.code, store.get(keys[1]), store.get(keys[1], 3), store.get("v1/none")]
        outcomes += [
            list(store.list_keys("v1/runs/A/r")),
            list(store.list_keys("v1/runs/A/", "v1/runs/A/events/1.json")),
        ]
        outcomes += [[entry.size for entry in store.list_entries("v1/")]]
        outcomes += [store.list_folders("v1/runs/"), store.list_folders("v1/runs/", "A")]
        return outcomes

    assert told(memory) == told(object_store)
    memory.fail_after(0)
    with pytest.raises(FedprivError, match="STORE_UNAVAILABLE"):
        memory.get("v1/none")
