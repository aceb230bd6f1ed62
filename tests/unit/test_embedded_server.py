"""Ports, and telling our own server from another one that answers in its place."""

import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pagerduty_sync.embedded.account import Account
from pagerduty_sync.embedded.health import check_ports
from pagerduty_sync.embedded.server import Server, StartError, choose_port, free_ports, why_not_free
from pagerduty_sync.errors import SettingsError
from pagerduty_sync.settings import Settings, variable


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def a_server(answering: Callable[[], int | None]) -> Server:
    return Server(
        name="Valkey",
        origin="a test",
        command=("false",),
        url="redis://127.0.0.1",
        directory=Path("/"),
        account=Account("me", os.getuid(), os.getgid()),
        stop_signal=signal.SIGTERM,
        answering=answering,
    )


class TestPorts:
    def test_the_port_of_the_last_start_is_used_again(self, tmp_path: Path) -> None:
        record = tmp_path / "port"

        assert choose_port(record) == choose_port(record) == int(record.read_text())

    def test_another_is_chosen_and_recorded_when_that_one_is_taken(self, tmp_path: Path, taken_port: int) -> None:
        record = tmp_path / "port"
        record.write_text(f"{taken_port}\n")

        port = choose_port(record)

        assert port != taken_port
        assert int(record.read_text()) == port

    def test_a_taken_port_says_so(self, taken_port: int) -> None:
        assert why_not_free(taken_port) == "is taken by another program"

    def test_an_address_that_is_not_ours_says_so(self) -> None:
        assert "192.0.2.1 cannot be opened" in str(why_not_free(8000, "192.0.2.1"))

    @pytest.mark.parametrize("name", ["web_port", "flower_port", "simulator_port"])
    def test_a_taken_port_is_named_with_its_setting(self, name: str, taken_port: int) -> None:
        ports = dict(zip(("web_port", "flower_port", "simulator_port"), free_ports(3), strict=True))
        ports[name] = taken_port
        settings = Settings.from_environment({variable(each): str(port) for each, port in ports.items()})

        with pytest.raises(SettingsError, match=rf"^Port {taken_port} is taken.*PAGERDUTY_SYNC_{name.upper()}"):
            check_ports(settings, ["simulator"])

    def test_the_simulators_port_does_not_matter_where_there_is_none(self, taken_port: int) -> None:
        web, flower = free_ports(2)

        check_ports(Settings(web_port=web, flower_port=flower, simulator_port=taken_port), [])

    def test_one_port_for_two_programs_is_refused(self) -> None:
        (port,) = free_ports(1)

        with pytest.raises(
            SettingsError, match=f"PAGERDUTY_SYNC_WEB_PORT and PAGERDUTY_SYNC_FLOWER_PORT are both {port}"
        ):
            check_ports(Settings(web_port=port, flower_port=port), [])


class TestReadiness:
    def test_our_own_process_is_ready_when_it_is_the_one_that_answers(self) -> None:
        a_server(lambda: 42).wait_until_ready(lambda: 42, timeout_seconds=0)

    def test_another_server_that_answers_is_not_taken_for_ours(self) -> None:
        with pytest.raises(StartError, match="gave no answer"):
            a_server(lambda: 41).wait_until_ready(lambda: 42, timeout_seconds=0)

    def test_a_server_that_died_is_not_waited_for(self) -> None:
        with pytest.raises(StartError, match="Valkey ended while it was starting"):
            a_server(lambda: 41).wait_until_ready(lambda: None)
