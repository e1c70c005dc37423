"""The table of partition leases: what provisioning makes and identical site processes share partitions by."""

from __future__ import annotations

from typing import Final

#: Partition key: the data set's name. One query then reads every lease of a data set.
DATASET: Final = "dataset"
#: Sort key: the partition's number, from 0.
PARTITION: Final = "partition"
