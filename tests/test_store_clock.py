import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from edge_app.store import clock as module
from edge_app.store.clock import Clock
from edge_app.store.ids import id_at, tick_at, tick_of


class StandingClock(Clock):
    """The device's own, but for what the wall clock says."""

    wall = datetime(2027, 3, 1, 12, tzinfo=UTC)

    def now(self) -> datetime:
        return self.wall


@pytest.fixture
def signs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder where the system's signs of a set clock are looked for; there are none."""
    monkeypatch.setattr(module, "SET_SINCE_BOOT", tmp_path / "synchronized")
    monkeypatch.setattr(module, "BATTERY_CLOCK", tmp_path)
    monkeypatch.setattr(module, "kernel_says_set", lambda: (tmp_path / "kernel").exists())
    return tmp_path


@pytest.mark.parametrize("sign", ["synchronized", "kernel"])
def test_a_clock_that_the_network_has_set_is_sure_unless_its_date_is_impossible(signs: Path, sign: str) -> None:
    clock = StandingClock()
    assert not clock.sure()
    (signs / sign).touch()
    assert clock.sure()
    clock.wall = datetime(1970, 1, 1, tzinfo=UTC)
    assert not clock.sure()


def test_a_battery_clock_is_believed_while_the_system_clock_agrees(signs: Path) -> None:
    clock = StandingClock()
    (signs / "hctosys").write_text("1\n")
    (signs / "since_epoch").write_text(f"{clock.wall.timestamp():.0f}\n")
    assert clock.sure()
    (signs / "since_epoch").write_text("4711\n")  # one without a battery
    assert not clock.sure()
    (signs / "since_epoch").write_text("nonsense\n")
    assert not clock.sure()


def test_the_devices_own_clocks_give_an_answer() -> None:
    clock = Clock()
    assert isinstance(clock.sure(), bool)  # that the kernel can be asked at all
    assert len(clock.boot_id()) == 36
    assert abs(clock.at(time.monotonic_ns()) - datetime.now(UTC)) < timedelta(seconds=1)
    assert abs(clock.at(time.monotonic_ns() - 10**10) - datetime.now(UTC) + timedelta(seconds=10)) < timedelta(
        seconds=1
    )


def test_ids_carry_their_tick_and_sort_by_it() -> None:
    start = tick_at(datetime(2027, 3, 1, 12, tzinfo=UTC))
    ticks = [start, start + 1, start + 4095, start + 4096, tick_at(datetime(2100, 1, 1, tzinfo=UTC))]
    ids = [id_at(tick) for tick in ticks]
    assert [tick_of(each) for each in ids] == ticks
    assert ids == sorted(ids)
    assert all(each[14] == "7" and each[19] in "89ab" for each in ids)
    assert tick_at(datetime(1969, 1, 1, tzinfo=UTC)) == 0
    assert len({id_at(start) for _ in range(1000)}) == 1000
