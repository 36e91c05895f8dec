"""Signals that end a training after the step under way."""

import os
import signal
import threading
from typing import Any

from ppvae.inference.state import Fit

_DEFAULT: dict[signal.Signals, Any] = {
    signal.SIGINT: signal.default_int_handler,
    signal.SIGTERM: signal.SIG_DFL,
    signal.SIGHUP: signal.SIG_DFL,
}
_END_THE_PROGRAM = (signal.SIGTERM, signal.SIGHUP)


class Terminated(SystemExit):
    """SIGTERM or SIGHUP has ended a training; its state is saved, and the program ends.

    Where nobody catches it, the exit code is 128 plus the number of the signal: 143 or 129.

    Attributes:
        fit: the history so far. The pair has its last weights, or those that a callback such as
            `EarlyStopping` restored.
    """

    def __init__(self, fit: Fit, number: signal.Signals) -> None:
        super().__init__(128 + number)
        self.fit = fit


class Interruption:
    """Takes note of Ctrl-C, SIGTERM and SIGHUP inside a `with` block, to end at a good moment.

    A second signal does what it does without this: it ends at once. Signals for which the program
    has a handler of its own, or which it ignores (as `nohup` does), are left alone, and so are
    all of them outside the main thread, where Python allows no handlers. A signal that went to the
    whole process group ends the workers of a loader too; that is no failure then.

    Attributes:
        signal: the signal that has come; None as long as there is none.

    Example:
        >>> with Interruption() as interruption:
        ...     signal.raise_signal(signal.SIGTERM)
        ...     interruption.asked
        True
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._before: dict[signal.Signals, Any] = {}
        self._process = os.getpid()

    @property
    def asked(self) -> bool:
        """Whether a signal has asked to end."""
        return self.signal is not None

    def __enter__(self) -> "Interruption":
        if threading.current_thread() is threading.main_thread():
            for number, default in _DEFAULT.items():
                if signal.getsignal(number) == default:
                    self._before[number] = signal.signal(number, self._take_note)
        return self

    def __exit__(self, *_: object) -> None:
        self._restore()
        if signal.SIGCHLD in self._before:
            signal.signal(signal.SIGCHLD, self._before.pop(signal.SIGCHLD))

    def end_program(self, fit: Fit) -> None:
        """Raise `Terminated` if the signal was one that ends the program.

        A caller goes on after Ctrl-C, as it is for him to decide. After SIGTERM it would only go
        on to work with a pair that is not trained to its end.
        """
        if self.signal in _END_THE_PROGRAM:
            raise Terminated(fit, self.signal)

    def _take_note(self, number: int, frame: object) -> None:
        self._restore()
        if os.getpid() == self._process:
            self.signal = signal.Signals(number)
            # torch's handler would raise in the middle of a step that a worker has ended.
            workers = signal.getsignal(signal.SIGCHLD)
            if callable(workers):
                self._before[signal.SIGCHLD] = workers
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        elif number != signal.SIGINT:  # a process forked from here, which its parent may end
            signal.raise_signal(number)

    def _restore(self) -> None:
        for number in _DEFAULT.keys() & self._before.keys():
            before = self._before.pop(number)
            if signal.getsignal(number) == self._take_note:
                signal.signal(number, before)
