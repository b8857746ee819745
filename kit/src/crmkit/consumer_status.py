"""How far this process has come with the events of another service."""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum


class ConsumerState(Enum):
    """How a consumer stands to its source."""

    STARTING = "STARTING"
    RUNNING = "RUNNING"
    DIVERGED = "DIVERGED"


@dataclass(slots=True)
class ConsumerStatus:
    """How far a consumer is.

    Attributes:
        applied_seq: The last event applied (by any process of this service).
        head_seq: The source's newest event, as last heard.
        caught_up: True once the consumer has been level with the source.
        data_time: Up to when everything that happened in the source is included; None if unknown.
    """

    state: ConsumerState = ConsumerState.STARTING
    applied_seq: int = 0
    head_seq: int = 0
    caught_up: bool = False
    data_time: datetime | None = None
