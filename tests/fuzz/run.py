"""Look for new inputs, guided by coverage: `python tests/fuzz/run.py TARGET --runs N`. It needs `pip install atheris`.

Starts from the kept corpus and writes back what reaches more code; `--runs 0` only measures. An input that breaks a
promise is printed in hex: put it into the corpus, and the suite shows the fault until it is mended.
"""

import argparse
import importlib
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parents[1]), str(HERE)]

import seeds  # noqa: E402 - its path was not known before.


def explore(target, libfuzzer_arguments):
    """Be libFuzzer, until it ends the process."""
    import atheris

    # Before anything is instrumented: kernels are compiled from their code as it stands.
    importlib.import_module("server.kernels.decode")
    with atheris.instrument_imports(include=["server.protocol", "server.bridge.broker_thread", "server.mqtt.topics"]):
        from targets import TARGETS
    atheris.Setup([sys.argv[0], *libfuzzer_arguments], TARGETS[target])
    atheris.Fuzz()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target")
    parser.add_argument("--runs", type=int, default=100_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = Path(folder, "found")
        found.mkdir()
        for number, data in enumerate(seeds.load(arguments.target)):
            Path(found, f"seed-{number}").write_bytes(data)
        child = [sys.executable, __file__, "--explore", arguments.target, f"-artifact_prefix={folder}/"]
        options = [
            f"-runs={arguments.runs}",
            f"-max_len={seeds.INPUT_BYTES_MAX}",
            "-timeout=60",
            "-print_final_stats=1",
        ]
        ended = subprocess.run([*child, *options, str(found)])
        for fault in [*Path(folder).glob("crash-*"), *Path(folder).glob("timeout-*")]:
            print(f"{fault.name.partition('-')[0]}: {fault.read_bytes().hex()}")
        if ended.returncode == 0:
            from targets import TARGETS

            count = seeds.save(TARGETS[arguments.target], [path.read_bytes() for path in found.iterdir()])
            print(f"{arguments.target}: {count} inputs kept")
    sys.exit(ended.returncode)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--explore"]:
        explore(sys.argv[2], sys.argv[3:])
    main()
