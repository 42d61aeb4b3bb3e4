"""papermill's engine as the runner uses it: it tells of each cell, saves seldom, and never stalls.

Imported in the worker only, where papermill is loaded anyway.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import zmq
from jupyter_core.utils import run_sync
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import Engine, papermill_engines

SAVE_AFTER = 1.0  # seconds that a cell has run: what stands before it is saved


class Client(PapermillNotebookClient):
    """papermill's client without its stall, and with a save while a long cell runs."""

    def process_message(self, *message, **options):
        output = super().process_message(*message, **options)
        # An Output widget (interact) makes nbclient send on the shell socket while it waits
        # there, past pyzmq's asyncio layer: a reply that has come by then wakes nobody, and
        # the run hangs (jupyter/nbclient#312). Asking for the events wakes who waits.
        self.kc.shell_channel.socket.get(zmq.EVENTS)
        return output

    async def async_execute_cell(self, cell, cell_index, **options):
        # If this cell never ends, the kept notebook shows how it came to it.
        late = asyncio.get_running_loop().call_later(SAVE_AFTER, self.nb_man.save_now)
        try:
            return await super().async_execute_cell(cell, cell_index, **options)
        finally:
            late.cancel()

    execute_cell = run_sync(async_execute_cell)


class RunnersEngine(Engine):
    """Runs a managed notebook; `announce` is called with (number from 1, number of cells)."""

    @classmethod
    def execute_managed_notebook(
        cls,
        nb_man: Any,
        kernel_name: str,
        *,
        announce: Callable[[int, int], None],
        log_output: bool = False,
        start_timeout: float = 60,
        **options: Any,
    ) -> Any:
        start, total = nb_man.cell_start, len(nb_man.nb.cells)

        def cell_start(cell, cell_index=None, **more):
            announce(cell_index + 1, total)
            return start(cell, cell_index, **more)

        nb_man.cell_start = cell_start
        # papermill writes the whole notebook before and after each cell: with figures in it, a
        # third of the worker's time. It still does so at the start and at the end.
        nb_man.save_now, nb_man.save = nb_man.save, lambda **_: None
        try:
            client = Client(nb_man, kernel_name=kernel_name, startup_timeout=start_timeout)
            return client.execute()
        finally:
            del nb_man.save


def engine_name() -> str:
    """Make the engine known to papermill and return its name."""
    papermill_engines.register("mlsys", RunnersEngine)
    return "mlsys"
