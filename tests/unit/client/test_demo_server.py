"""The demo's server is stopped whatever ends the demo."""

import os
import signal
import threading

import pytest

from server.client.demo_server import ENDING_SIGNALS, signals_interrupt


@pytest.mark.parametrize("number", ENDING_SIGNALS)
def test_ending_signal_is_an_interrupt_meanwhile_only(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt), signals_interrupt():
        os.kill(os.getpid(), number)
    assert signal.getsignal(number) is before


def test_signals_are_left_alone_outside_the_main_thread() -> None:
    entered: list[bool] = []

    def run() -> None:
        with signals_interrupt():
            entered.append(True)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert entered == [True]
