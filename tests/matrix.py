"""The tests as on other machines: three kinds of CPU, one thread and two (``make matrix``).

Each combination runs the unit tests and every notebook against its stored outputs, or only the
tests that are named: ``python tests/matrix.py notebooks/04_weights.ipynb``. PyTorch takes the
instructions that ``ATEN_CPU_CAPABILITY`` allows, so that one CPU can stand in for older ones.
"""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

ROOT = Path(__file__).parents[1]
CAPABILITIES = ("default", "avx2", "avx512")
THREADS = (1, 2)
# The build and the browser compute nothing that a kind of CPU could change.
LEFT_OUT = ("--ignore=tests/claimbook", "--ignore=tests/browser")
OPTIONS = ("--nbval", "--dist=loadfile", *LEFT_OUT)
TAKEN = "import torch; print(torch.backends.cpu.get_cpu_capability())"


@dataclass(frozen=True)
class Result:
    """How one combination went."""

    asked: str
    taken: str
    threads: int
    passed: bool
    summary: str
    seconds: float

    def row(self) -> str:
        verdict = "passed" if self.passed else "FAILED"
        return (
            f"{self.asked:10} {self.taken:10} {self.threads:7} {verdict:8} "
            f"{self.seconds:5.0f} s  {self.summary}"
        )


def run(capability: str, threads: int, tests: Sequence[str]) -> Result:
    """Run the tests once; what they print is shown only if they fail."""
    environment = {
        **os.environ,
        "ATEN_CPU_CAPABILITY": capability,
        "OMP_NUM_THREADS": str(threads),
        "PALINDROME_LENS_THREADS": str(threads),
    }
    started = time.monotonic()
    taken = _python(["-c", TAKEN], environment)
    # Two processes of two threads each would wait for each other on two cores.
    side_by_side = f"--numprocesses={2 // threads}"
    ran = _python(["-m", "pytest", "--quiet", side_by_side, *OPTIONS, *tests], environment)
    if ran.returncode != 0:
        print(ran.stdout)
    lines = ran.stdout.strip().splitlines() or ["no output"]
    return Result(
        asked=capability,
        taken=taken.stdout.strip(),
        threads=threads,
        passed=ran.returncode == 0,
        summary=lines[-1].strip("= "),
        seconds=time.monotonic() - started,
    )


def _python(arguments: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=environment,
        encoding="utf-8",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )


def main(tests: Sequence[str]) -> int:
    """Run every combination and print a table; 1 if one of them failed."""
    results = []
    for capability, threads in product(CAPABILITIES, THREADS):
        print(f"{capability}, {threads} thread(s) ...", flush=True)
        results.append(run(capability, threads, tests))
    print(f"\n{'asked':10} {'taken':10} {'threads':>7} {'':8}")
    for result in results:
        print(result.row())
    return 0 if all(result.passed for result in results) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or ["tests", "notebooks"]))
