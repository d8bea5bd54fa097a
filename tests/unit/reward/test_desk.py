"""What becomes of a request whose worker could not even be asked."""

from __future__ import annotations

from typing import Any

from gyms.api import Status
from reward.control import is_suspect
from reward.desk import _attempt
from reward.process import Request
from reward.waiting import Ticket


def test_a_machine_that_can_start_no_worker_is_our_fault_whatever_control_worked_before() -> None:
    class NoRoom:
        def score(self, request: Request, is_stopped: Any) -> Any:
            raise BlockingIOError(11, "Resource temporarily unavailable")

        def kill(self) -> None:
            pass

    worker: Any = NoRoom()
    ticket = Ticket("r", "gym", Request(kind="group", payload=b"", num_responses=2))
    scores = _attempt(worker, ticket, lambda: False)
    assert [score.status for score in scores] == [Status.VERIFIER_ERROR] * 2
    assert not any(is_suspect(score) for score in scores)
    assert "BlockingIOError: [Errno 11] Resource temporarily unavailable" in scores[0].detail
