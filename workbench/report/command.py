"""What report does: writes one recording up, or several against the first.

Invariant: the file is written whole or not at all, and never over a recording.
"""

from collections.abc import Sequence
from pathlib import Path

from workbench.output_file import require_outputs, talk_file, write_atomically
from workbench.recording.reader import Recording


def run_report(files: Sequence[Path], out: Path) -> int:
    """Write the report and say where it is. Returns the exit code."""
    require_outputs({"--out": out}, files)
    if len(files) == 1:
        from workbench.report.single import single_report

        with Recording.open(files[0]) as recording:
            data = single_report(recording)
    else:
        from workbench.report.several import comparison_report

        data = comparison_report(files)
    write_atomically(out, data)
    print(f"{out} is written: {len(data) / 1e6:.1f} MB, open it in any browser", file=talk_file(out))
    return 0
