"""The point of no return of a job, and the proof that a job is still this process's to publish.

Prefect protects neither terminal states nor a run that was recovered from a process that proves to be alive.
The order of a run's states does: Prefect adds them one after the other under a lock of the run's row. A
process owns a run as long as no foreign state follows the Running state that it began with, and it looks
after it has written its own Publishing state: a recovery that came before is then seen here, and one that
came after sees Publishing (`docmill.jobs.sweep`). A process that has just shown that it is alive need not
look: it has a lease.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from uuid import UUID

from prefect.client.schemas import OrchestrationResult
from prefect.client.schemas.objects import TERMINAL_STATES, State, StateDetails, StateType
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
        self,
        client: PrefectClient,
        flow_run_id: UUID,
        running_state_id: UUID,
        abort: AbortEvent,
        has_lease: Callable[[], bool] = lambda: False,
    ) -> None:
        self._has_lease = has_lease
        self._client = client
        self._flow_run_id = flow_run_id
        self._own = {running_state_id}
        self._abort = abort
        self.claimed = False

    async def claim_publication(self) -> None:
        """Pass the point of no return: from here on the job ends Completed, whoever aborts it.

        Raises `JobAborted` where the run was aborted, deleted or taken over before. May be called again.
        """
        if not self.claimed and not self._abort.is_set() and (self._has_lease() or await self.holds()):
            await self._claim()
        if not self.claimed:
            raise JobAborted(f"the job was {self._abort.reason or AbortReason.ABORTED} before it published")

    async def holds(self) -> bool:
        """Whether the run is still this process's; if not, the abort event is set with the reason."""
        states = await self._states()
        if not states:
            return False
        last_foreign = _foreign_end(states, self._own)
        if last_foreign is None:
            return True
        aborted = last_foreign.type is StateType.CANCELLED
        self._abort.trigger(AbortReason.ABORTED if aborted else AbortReason.SUPERSEDED)
        return False

    async def _claim(self) -> None:
        try:
            result: OrchestrationResult[Any] = await self._client.set_flow_run_state(
                self._flow_run_id, Running(name=PUBLISHING)
            )
        except ObjectNotFound:
            self._abort.trigger(AbortReason.DELETED)
            return
        if not ((state := result.state) and state.is_running() and state.name == PUBLISHING):
            # Prefect refuses it from Cancelling, and from a rerun whose time has not come.
            if await self.holds():
                self._abort.trigger(AbortReason.ABORTED)
            return
        states = [] if self._has_lease() else await self._states()
        if self._abort.reason is AbortReason.DELETED:
            return
        if foreign := _foreign_end(states, self._own):
            # It came between the look and the claim. Put back what the claim has covered, unless the
            # successor has gone on already.
            self._abort.trigger(AbortReason.SUPERSEDED)
            if states[-1].id == state.id:
                await self._client.set_flow_run_state(self._flow_run_id, again(foreign), force=True)
            return
        self._own.add(state.id)
        self.claimed = True

    async def _states(self) -> list[State[Any]]:
        try:
            states = await self._client.read_flow_run_states(self._flow_run_id)
        except ObjectNotFound:
            states = []
        if not states:
            # Prefect answers an empty list for a run that is gone.
            self._abort.trigger(AbortReason.DELETED)
        return sorted(states, key=lambda state: state.timestamp)


def again(state: State[Any]) -> State[Any]:
    """The same state, to be set once more."""
    details = StateDetails(scheduled_time=state.state_details.scheduled_time)
    return State(type=state.type, name=state.name, message=state.message, state_details=details)


def _foreign_end(states: list[State[Any]], own: set[UUID]) -> State[Any] | None:
    """The last state by which another took the run over or ended it, after this process's own first.

    A foreign Running is none: it follows a Pending, or is the vain claim of a process that was superseded.
    """
    first = next((index for index, state in enumerate(states) if state.id in own), 0)
    kinds = TERMINAL_STATES | {StateType.SCHEDULED, StateType.PENDING}
    foreign = [state for state in states[first:] if state.id not in own and state.type in kinds]
    return foreign[-1] if foreign else None
