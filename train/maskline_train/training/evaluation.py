"""The evaluation between two training steps: shown as it goes on, and stopped by a signal."""

from __future__ import annotations

from pathlib import Path

from maskline_train.data.coco import CocoDataset
from maskline_train.distributed import Processes, average_norm_statistics
from maskline_train.evaluation.evaluate import EvaluationStopped, Metrics, evaluate
from maskline_train.evaluation.predict import write_sheet
from maskline_train.recipe import TrainingSpec
from maskline_train.training.interruption import Signals
from maskline_train.training.metrics_log import MetricsLog
from maskline_train.training.stage import Stage
from maskline_train.training.state import TrainingState


def evaluate_step(
    state: TrainingState,
    val_set: CocoDataset,
    training: TrainingSpec,
    processes: Processes,
    log: MetricsLog,
    out: Path,
    stage: Stage | None,
    signals: Signals,
) -> tuple[Metrics | None, bool, int]:
    """Evaluate (the averages, where there are any) and draw pictures.

    Returns:
        The metrics, whether the main AP is the best so far, and 0. Where a signal came to any of the processes: None,
        False and its number; the evaluation of this step stays due.
    """
    if state.averages is not None:
        state.averages.swap(state.model)
    try:
        average_norm_statistics(state.model)
        metrics = evaluate(
            state.model,
            val_set,
            processes,
            workers=training.workers,
            max_images=training.evaluate_images,
            detect=None if stage is None else stage.detect(state.model),
            advance=lambda done, count: log.evaluating(state.step, done, count) or signals.received,
        )
    except EvaluationStopped as stop:
        return None, False, stop.number
    finally:
        if state.averages is not None:
            state.averages.swap(state.model)
    if processes.is_main:
        picture = out / "pictures" / f"step-{state.step:08d}.png"
        write_sheet(picture, val_set, metrics.results, metrics.num_images)
    log.evaluation(state.step, metrics.scalars())
    log.say(f"step {state.step}: {metrics.summary()} on {metrics.num_images} images")
    best = metrics.main_ap > state.best_ap
    state.best_ap = max(state.best_ap, metrics.main_ap)
    state.evaluation_due = False
    return metrics, best, 0
