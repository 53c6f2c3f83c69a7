"""Lightning trains the same autoencoder, on one process and on two.

Needs the optional extra ``lightning``, which the extra ``test`` brings along.
"""

import csv
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from palindrome_lens.sae.autoencoders import ARCHITECTURES, SAEConfig
from palindrome_lens.sae.training import train

pytest.importorskip("lightning", reason="the extra 'lightning' is not installed")
from lightning.pytorch.loggers import CSVLogger

from palindrome_lens.sae.lightning import SAEModule, fit

MEANS_OVER_SAMPLES = ("relu-l1", "gated", "topk", "jumprelu")
"""Architectures whose loss of a batch is the mean of the losses of its shares."""
ROW = ("mse", "sparsity_loss", "auxiliary_loss", "l0")


def data() -> Tensor:
    generator = torch.Generator().manual_seed(4)
    return torch.randn(64, 12, dtype=torch.float64, generator=generator) + 0.5


def config(architecture: str) -> SAEConfig:
    return SAEConfig.model_validate(
        {"architecture": architecture, "d_sae": 40, "k": 3, "steps": 15, "batch_size": 16}
        | {"normalise": True, "aux_weight": 1 / 32, "dead_after": 4, "threshold": 0.5}
    )


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_one_process_gives_exactly_the_plain_loops_result(architecture: str) -> None:
    rows: list[dict[str, float]] = []
    wanted = train(config(architecture), data(), rows.append)
    logged: list[dict[str, float]] = []
    found = fit(config(architecture), data(), logged.append)
    weights = found.autoencoder.state_dict()
    for name, weight in wanted.autoencoder.state_dict().items():
        assert torch.equal(weights[name], weight), name
    assert all(map(torch.equal, found.history, wanted.history))
    assert logged == rows


@pytest.mark.filterwarnings("ignore")
def test_lightnings_own_logger_gets_the_curves(tmp_path: Path) -> None:
    """What is handed to ``fit`` besides goes to Lightning's trainer, here a logger of its own."""
    logger = CSVLogger(tmp_path, flush_logs_every_n_steps=1)
    history = fit(config("topk"), data(), logger=logger, log_every_n_steps=1).history
    with Path(logger.log_dir, "metrics.csv").open(encoding="utf-8") as file:
        logged = [{name: float(row[name]) for name in ROW} for row in csv.DictReader(file)]
    wanted = [{name: row[name] for name in ROW} for row in history.rows()]
    assert logged == [pytest.approx(row, rel=1e-6) for row in wanted]


SCRIPT = """
import sys, warnings
import torch
torch.set_num_threads(1)
warnings.filterwarnings("ignore")
sys.path[:0] = {path!r}
from sae.test_lightning import MEANS_OVER_SAMPLES, config, data
from palindrome_lens.sae.lightning import fit
from lightning.pytorch.strategies import DDPStrategy
for name in (*MEANS_OVER_SAMPLES, "batchtopk"):
    strategy = DDPStrategy(process_group_backend="gloo")
    result = fit(config(name), data(), devices=2, strategy=strategy)
    if torch.distributed.get_rank() == 0:
        tensors = result.autoencoder.state_dict() | result.history._asdict()
        torch.save(tensors, {folder!r} + "/" + name)
"""


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder where two processes have left what they trained."""
    folder = tmp_path_factory.mktemp("ddp")
    script = folder / "script.py"
    path = [str(Path(__file__).parents[1]), *sys.path]
    script.write_text(SCRIPT.format(path=path, folder=str(folder)))
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize("architecture", MEANS_OVER_SAMPLES)
def test_two_processes_give_the_result_of_one(architecture: str, two_processes: Path) -> None:
    wanted = train(config(architecture), data())
    found = torch.load(two_processes / architecture)
    tensors = wanted.autoencoder.state_dict() | wanted.history._asdict()
    for name, tensor in tensors.items():
        torch.testing.assert_close(found[name], tensor, rtol=0, atol=1e-9, msg=name)


def test_two_processes_select_in_their_own_half_of_a_batch(two_processes: Path) -> None:
    """BatchTopK is the exception that the module's text names."""
    wanted = train(config("batchtopk"), data())
    found = torch.load(two_processes / "batchtopk")
    assert found["l0"].tolist() == wanted.history.l0.tolist()
    assert not torch.allclose(found["mse"], wanted.history.mse, rtol=0, atol=1e-6)


def test_what_cannot_be_trained_is_refused_before_lightning_starts() -> None:
    with pytest.raises(ValueError, match="64 of 64 samples hold NaN"):
        SAEModule(config("topk"), data() * torch.nan)
    with pytest.raises(ValueError, match="A batch of 15 cannot be shared equally by 2 processes"):
        fit(config("topk").model_copy(update={"batch_size": 15}), data(), devices=2, strategy="ddp")
