"""The pipeline strip and the diagnosis line: what they show, and what clicks and keys do."""

from dataclasses import replace

import numpy as np
import pytest

from support.window_stage import (
    DIAGNOSIS,
    READING,
    STAGES,
    FakeSession,
    Written,
    boxes,
    headless,
    heat_map,
    part_of,
    rgb,
    words,
)
from workbench.telemetry.view import Diagnosis, StageReading
from workbench.window.overview.pipeline_view import BUSY, OK, UNKNOWN, QueueBar, drops_texts, queue_tip, state_of
from workbench.window.toolkit import theme
from workbench.window.toolkit.display import offscreen, pygame
from workbench.window.toolkit.keys import Action
from workbench.window.toolkit.painter import Painter
from workbench.window.toolkit.wording import TERMS

SIZE = (1920, 1080)
QUEUE = StageReading("read", "reads", depth_max=1000)


def staged(**changes: object) -> FakeSession:
    return FakeSession(heat_map(64, 64), stages=STAGES, diagnosis=DIAGNOSIS, **changes)


# --- Queues -----------------------------------------------------------------------------------------------------------


def filled_rows(stage: StageReading) -> float:
    """The filled ratio of the bar, counted in the picture."""
    pen, gutter = Painter(1), pygame.Rect(0, 0, 26, 118)
    target = offscreen(gutter.size)
    bar = QueueBar(gutter)
    assert bar.draw(target, stage, theme.DARK.sky, pen) == [gutter]
    inside = part_of(rgb(target), bar.inside(pen))
    rows = [not (row == theme.DARK.track).all() and not (row == theme.DARK.text).all() for row in inside]
    return sum(rows) / len(rows)


def test_a_full_queue_is_drawn_full_and_an_empty_one_empty() -> None:
    assert filled_rows(replace(QUEUE, depth=1000, depth_peak=1000)) == 1.0
    assert filled_rows(replace(QUEUE, depth=4000, depth_peak=4000)) == 1.0
    assert filled_rows(QUEUE) == 0.0


@pytest.mark.parametrize("ratio", [0.1, 0.5, 0.75])
def test_a_queue_bar_is_filled_by_its_ratio(ratio: float) -> None:
    assert filled_rows(replace(QUEUE, depth=1000 * ratio, depth_peak=int(1000 * ratio))) == pytest.approx(
        ratio, abs=0.01
    )


def test_a_full_batch_queue_does_not_look_like_a_jam() -> None:
    full = {"depth": 1000, "depth_peak": 1000, "depth_max": 1000, "utilisation_ratio": 0.1}
    stages = tuple(replace(stage, **full) for stage in STAGES)
    session = FakeSession(heat_map(64, 64), stages=stages, diagnosis=Diagnosis("none"))
    window = headless(session, SIZE)
    strip, picture = window._layout.pipeline, rgb(window.draw())
    for stage, queue in zip(stages, strip._queues, strict=True):
        inside = part_of(picture, queue.inside(Painter(1)))
        expected = theme.DARK.faint if stage.name in ("encode", "fan-out") else theme.DARK.sky
        assert (inside == expected).all(), stage.name
        assert ("being full is normal" in queue_tip(stage)) == (stage.name in ("encode", "fan-out"))


def test_a_queue_with_one_item_is_not_drawn_empty() -> None:
    assert filled_rows(replace(QUEUE, depth=0.2)) > 0


def test_the_high_water_mark_is_at_the_peak_depth() -> None:
    pen, gutter = Painter(1), pygame.Rect(0, 0, 26, 118)
    target, bar = offscreen(gutter.size), QueueBar(gutter)
    bar.draw(target, replace(QUEUE, depth=100, depth_peak=600), theme.DARK.sky, pen)
    inside = part_of(rgb(target), bar.inside(pen))
    (first, *_) = np.flatnonzero((inside == theme.DARK.text).all(axis=(1, 2)))
    assert 1 - first / len(inside) == pytest.approx(0.6, abs=0.02)


def test_an_unchanged_queue_is_not_redrawn() -> None:
    bar, target = QueueBar(pygame.Rect(0, 0, 26, 118)), offscreen((26, 118))
    stage = replace(QUEUE, depth=500, depth_peak=500)
    assert bar.draw(target, stage, theme.DARK.sky, Painter(1))
    assert not bar.draw(target, replace(stage, depth=500.4), theme.DARK.sky, Painter(1))
    assert bar.draw(target, stage, theme.DARK.vermilion, Painter(1))


def test_a_queue_has_the_colour_of_its_stages_state() -> None:
    session = staged()
    strip = part_of(rgb(headless(session, SIZE).draw()), boxes(session, SIZE).pipeline)
    slot = strip.shape[1] // len(STAGES)
    index = [stage.name for stage in STAGES].index("fan-out")
    parts = [strip[:, i * slot : i * slot + 20] for i in range(len(STAGES))]
    lit = [int((part == theme.DARK.vermilion).all(axis=2).sum()) for part in parts]
    assert lit[index] > 500 and sum(lit) == lit[index]


def test_a_queues_tooltip_has_all_its_numbers() -> None:
    tip = queue_tip(replace(QUEUE, depth=512.0, depth_peak=700, growth_per_s=40.0, waiting_ms=3.1))
    assert tip.startswith("queue before read: 512 of 1,000 reads")
    assert "700" in tip and "3.10 ms" in tip and "grows by 40 /s" in tip and TERMS["queue"] in tip
    assert "shrinks by 40 /s" in queue_tip(replace(QUEUE, growth_per_s=-40.0))


# --- Cards ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(1280, 720), (1920, 1080), (3840, 2160)])
def test_every_stage_fits_with_its_name_and_figures(size: tuple[int, int], written: list[Written]) -> None:
    nine = (*STAGES[:5], StageReading("journal", "commits", 5.0, 0.06, 2400.0, 0.0, 0, 1, 4), *STAGES[5:])
    session = FakeSession(heat_map(64, 64), stages=nine, diagnosis=DIAGNOSIS)
    headless(session, size)
    strip = boxes(session, size).pipeline
    inside = [entry for entry in written if strip.contains(entry.box)]
    assert all(entry.whole for entry in inside), [entry for entry in inside if not entry.whole]
    said = [entry.text for entry in sorted(inside, key=lambda entry: entry.letters.left)]
    names = [stage.name for stage in nine]
    assert [text for text in said if text in names] == names
    for text in ("94 %", "80.1 k/s", "5.90 us", "3.10 s"):
        assert text in said


def test_only_the_bottleneck_is_marked() -> None:
    session = staged()
    window = headless(session, SIZE)
    strip = part_of(rgb(window.draw()), boxes(session, SIZE).pipeline)
    edge = (strip[1] == theme.DARK.vermilion).all(axis=1)
    slot = strip.shape[1] / len(STAGES)
    index = [stage.name for stage in STAGES].index("fan-out")
    columns = np.flatnonzero(edge)
    assert len(columns) > 100
    assert index * slot <= columns[0] and columns[-1] < (index + 1) * slot
    session.change(diagnosis=Diagnosis("none", "41 % headroom"), reading=replace(READING, tick=9))
    after = part_of(rgb(window.draw()), boxes(session, SIZE).pipeline)
    assert not (after[1] == theme.DARK.vermilion).all(axis=1).any()


def test_states_by_utilisation() -> None:
    stage = StageReading("apply", "placements")
    assert state_of(stage, "") == UNKNOWN
    assert state_of(replace(stage, utilisation_ratio=0.69), "") == OK
    assert state_of(replace(stage, utilisation_ratio=0.7), "read") == BUSY


def test_drops_are_named_by_reason_the_largest_first() -> None:
    stage = replace(QUEUE, drops_per_s=(("overload", 12.0), ("rate", 8130.0)))
    assert drops_texts(stage)[0] == ("8.13 k/s rate, 1 more", "8.14 k/s dropped", "8.14 k/s")
    assert drops_texts(QUEUE)[0] == ("no drops",)


def test_a_brake_is_always_shown(written: list[Written]) -> None:
    headless(staged(), SIZE)
    assert "brake + 20 us an item" in words(written)


def test_the_strip_has_a_notice_before_the_server_runs(written: list[Written]) -> None:
    headless(FakeSession(heat_map(64, 64)), SIZE)
    assert "The pipeline appears here when the server runs." in words(written)


def test_tooltips_explain_the_term_under_the_mouse() -> None:
    session = staged()
    window = headless(session, SIZE)
    strip, scene = boxes(session, SIZE).pipeline, window._scene(session.view(), 0)
    slot = strip.width // len(STAGES)
    left = strip.left + slot // 2
    tips = [window._layout.pipeline.tip((left, strip.top + y), scene) for y in (10, 40, 56, 72, 86)]
    for tip, term in zip(tips, ("utilisation", "throughput", "service time", "waiting time", "drops"), strict=True):
        assert TERMS[term] in tip
    assert "queue before accept" in window._layout.pipeline.tip((strip.left + 5, strip.top + 40), scene)


# --- The line ---------------------------------------------------------------------------------------------------------


def test_the_bottleneck_is_named_with_its_evidence(written: list[Written]) -> None:
    headless(staged(), SIZE)
    said = words(written)
    assert f"Bottleneck: fan-out\n{DIAGNOSIS.sentence}\nNext: {DIAGNOSIS.runner_up}" in said


def test_no_bottleneck_is_stated(written: list[Written]) -> None:
    headless(FakeSession(heat_map(64, 64), diagnosis=Diagnosis("none", "41 % headroom")), SIZE)
    assert "No bottleneck\n41 % headroom" in words(written)


def test_why_opens_and_closes_the_steps_of_the_rule(written: list[Written]) -> None:
    session = staged()
    window = headless(session, (1280, 720))
    before = rgb(window.draw())
    written.clear()
    window.press(Action.WHY, 0)
    window.draw()
    for line in DIAGNOSIS.explanation:
        assert line in words(written)
    window.press(Action.WHY, 0)
    assert np.array_equal(rgb(window.draw()), before)
