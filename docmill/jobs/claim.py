"""The point of no return of a job, and the proof that a job is still this process's to publish.

Prefect protects neither terminal states nor a run that was recovered from a process that proves to be alive.
The order of a run's states does: Prefect adds them one after the other under a lock of the run's row. A
process owns a run as long as no foreign state follows the Running state that it began with, and it looks
after it has written its own Publishing state: a recovery that came before is then seen here, and one that
came after sees Publishing (`docmill.jobs.sweep`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from prefect.client.schemas import OrchestrationResult
from prefect.client.schemas.objects import StateType
from prefect.exceptions import ObjectNotFound
from prefect.states import Running

from docmill.errors import JobAborted
from docmill.jobs.status import PUBLISHING
from docmill.jobs.watch import AbortEvent, AbortReason

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient


class Ownership:
    """This process's hold on a flow run, from the Running state that it began with."""

    def __init__(
        self, client: PrefectClient, flow_run_id: UUID, running_state_id: UUID, abort: AbortEvent
    ) -> None:
        self._client = client
        self._flow_run_id = flow_run_id
        self._own = {running_state_id}
        self._abort = abort
        self.claimed = False

    async def claim_publication(self) -> None:
        """Pass the point of no return: from here on the job ends Completed, whoever aborts it.

        Raises `JobAborted` where the run was aborted, deleted or taken over before. May be called again.
        """
        if not self.claimed and not self._abort.is_set():
            try:
                result: OrchestrationResult[Any] = await self._client.set_flow_run_state(
                    self._flow_run_id, Running(name=PUBLISHING)
                )
            except ObjectNotFound:
                self._abort.trigger(AbortReason.DELETED)
            else:
                if (
                    result.state
                    and result.state.type is StateType.RUNNING
                    and result.state.name == PUBLISHING
                ):
                    self._own.add(result.state.id)
                    self.claimed = await self.holds()
                else:
                    self._abort.trigger(AbortReason.ABORTED)
        if not self.claimed:
            raise JobAborted(f"the job was {self._abort.reason or AbortReason.ABORTED} before it published")

    async def holds(self) -> bool:
        """Whether the run is still this process's; if not, the abort event is set with the reason."""
        try:
            states = await self._client.read_flow_run_states(self._flow_run_id)
        except ObjectNotFound:
            states = []
        # Prefect answers an empty list for a run that is gone.
        if not any(state.id in self._own for state in states):
            self._abort.trigger(AbortReason.DELETED)
            return False
        ordered = sorted(states, key=lambda state: state.timestamp)
        first = next(index for index, state in enumerate(ordered) if state.id in self._own)
        for state in ordered[first:]:
            if state.id in self._own or state.type in {StateType.CANCELLING, StateType.PAUSED}:
                continue
            aborted = state.type is StateType.CANCELLED
            self._abort.trigger(AbortReason.ABORTED if aborted else AbortReason.SUPERSEDED)
            return False
        return True
