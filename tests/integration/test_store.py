"""The put-once store on a real S3: what goes over the wire, and what a second writer meets."""

import pytest

from fedpriv_common.errors import ErrorCode, FedprivError
from fedpriv_common.store import PutOutcome


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
