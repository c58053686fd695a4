"""Results -> event files of TensorBoard, a run for each checkpoint, written without TensorFlow.

Checkpoints whose names end in their step (`run-3/checkpoint-500`) get their points at it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gpt2eval.export.order import Order, Written, began
from gpt2eval.export.tracked import COLUMNS, need, scalars, settings, step_of, table
from gpt2eval.naming import safe_name
from gpt2eval.report.text import markdown
from gpt2eval.types import Result


def write(order: Order) -> Written:
    """Write `<checkpoint>/events.out.tfevents...`: scalars, the table and the settings as texts."""
    need("tensorboard", "tensorboard")
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    paths = []
    for label, results in order.by_checkpoint().items():
        path = order.output / safe_name(label)
        writer = EventFileWriter(str(path))
        step = step_of(label)
        values = [
            Summary.Value(tag=name, simple_value=number)
            for result in results
            for name, number in scalars(result).items()
        ]
        values += [_text("table", _rows(results)), _text("settings", _settings(results))]
        when = began(results).timestamp()
        writer.add_event(Event(step=step, wall_time=when, summary=Summary(value=values)))
        writer.close()
        paths.append(path)
    return Written(paths, [f"look at it: tensorboard --logdir {order.output}"])


def _text(tag: str, text: str) -> Any:
    """A text as TensorBoard's plug-in for texts has it: a tensor of one string."""
    from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
    from tensorboard.compat.proto.tensor_pb2 import TensorProto
    from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
    from tensorboard.compat.proto.types_pb2 import DT_STRING

    return Summary.Value(
        tag=tag,
        metadata=SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="text")),
        tensor=TensorProto(
            dtype=DT_STRING,
            string_val=[text.encode(errors="replace")],
            tensor_shape=TensorShapeProto(dim=[TensorShapeProto.Dim(size=1)]),
        ),
    )


def _rows(results: Sequence[Result]) -> str:
    lines = [" | ".join(COLUMNS), " | ".join("---" for _ in COLUMNS)]
    for row in table(results):
        lines.append(" | ".join(markdown("" if cell is None else str(cell)) for cell in row))
    return "\n".join(f"| {line} |" for line in lines)


def _settings(results: Sequence[Result]) -> str:
    return "\n".join(f"- {markdown(f'{k}: {v}')}" for k, v in settings(results).items())
