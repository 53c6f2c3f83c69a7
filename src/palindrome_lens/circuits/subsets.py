"""Every circuit of a small graph: all subsets of its nodes, each on all strings.

At one query position the nodes are the embedding (``direct``), what each key position hands over
(``key 0``, ``key 1``, …), and the ``mlp``. A circuit is a subset of them. What it leaves out is
ablated; the MLP, where it is kept, reads the ablated residual stream. The final LayerNorm and the
unembedding stay. Completeness and minimality are those of Wang et al. (2023), "Interpretability in
the Wild".
"""

from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from palindrome_lens.circuits.subject import Subject
from palindrome_lens.circuits.tables import handed_over, mlp_out, unembedded
from palindrome_lens.task import inputs, targets

Ablation = Literal["mean", "zero", "donor"]
REFUSING = 256
"""Strings on which a circuit is tried first, evenly taken from all."""


class Circuits(NamedTuple):
    """All circuits of one query. Circuit ``c`` holds node ``i`` if bit ``i`` of ``c`` is set."""

    nodes: tuple[str, ...]
    right: Int64[Tensor, "circuits"]
    """On how many strings the argmax is the mirrored letter."""
    loss: Float[Tensor, "circuits"]
    """Mean cross-entropy of the mirrored letter, in nats."""

    def names(self, circuit: int) -> tuple[str, ...]:
        """The nodes of a circuit."""
        return tuple(node for i, node in enumerate(self.nodes) if circuit >> i & 1)

    def spelt(self, *circuits: int) -> str:
        """Circuits by their nodes: ``key 2 + mlp; key 3 + mlp``."""
        return "; ".join(" + ".join(self.names(circuit)) for circuit in circuits)

    @property
    def recovered(self) -> Float[Tensor, "circuits"]:
        """Loss recovered: 0 for the circuit without nodes, 1 for the model (Chan et al. 2022)."""
        return (self.loss[0] - self.loss) / (self.loss[0] - self.loss[-1])

    def holding(self, node: str) -> Bool[Tensor, "circuits"]:
        """Which circuits hold a node."""
        bit = self.nodes.index(node)
        return (torch.arange(len(self.right)) >> bit & 1).bool()


def enumerate_circuits(
    subject: Subject,
    query: int,
    ablation: Ablation = "mean",
    seed: int = 0,
) -> Circuits:
    """Evaluate every circuit of one query.

    Args:
        ablation: what stands for a node that is left out: the mean of what it writes in the whole
            model, nothing, or what it writes on a donor, one random string for each string.
        seed: of the donors.

    Raises:
        ValueError: these are not all strings of the task, or the query predicts no mirrored letter.
    """
    graph = _graph(subject, query, ablation, seed)
    right, losses = [], []
    for circuit in range(2 ** len(graph.nodes)):
        logits = _logits(subject.model, graph, circuit)
        losses.append(torch.nn.functional.cross_entropy(logits, graph.wanted))
        right.append((logits.argmax(dim=-1) == graph.wanted).sum())
    return Circuits(graph.nodes, torch.stack(right), torch.stack(losses))


def faithful_circuits(
    subject: Subject,
    query: int,
) -> Bool[Tensor, "circuits"]:
    """Which circuits of one query are right on every string, what they leave out at its mean.

    It agrees with :func:`enumerate_circuits`, and is quicker: most circuits are refused by the
    first strings that they get wrong.

    Raises:
        ValueError: these are not all strings of the task, or the query predicts no mirrored letter.
    """
    graph = _graph(subject, query, "mean", 0)
    n = len(subject.tokens)
    few = graph.of_strings(torch.arange(0, n, max(1, n // REFUSING)))
    verdicts = []
    for circuit in range(2 ** len(graph.nodes)):
        verdicts.append(
            all(
                bool((_logits(subject.model, part, circuit).argmax(dim=-1) == part.wanted).all())
                for part in (few, graph)
            )
        )
    return torch.tensor(verdicts)


def right_without(subject: Subject, query: int, node: str) -> int:
    """On how many strings the model is right with one node alone at its mean.

    Raises:
        ValueError: these are not all strings of the task, or the query predicts no mirrored letter,
            or it has no such node.
    """
    graph = _graph(subject, query, "mean", 0)
    circuit = 2 ** len(graph.nodes) - 1 - 2 ** graph.nodes.index(node)
    return int((_logits(subject.model, graph, circuit).argmax(dim=-1) == graph.wanted).sum())


class _Graph(NamedTuple):
    nodes: tuple[str, ...]
    own: Float[Tensor, "node strings d_model"]
    """What each node but the MLP writes, less what stands for it where it is left out."""
    rest: Float[Tensor, "#strings d_model"]
    """The residual stream before the MLP with every node left out."""
    absent_mlp: Float[Tensor, "#strings d_model"]
    wanted: Int64[Tensor, "strings"]

    def of_strings(self, rows: Int64[Tensor, "row"]) -> "_Graph":
        rest, absent_mlp = (
            part if len(part) == 1 else part[rows] for part in (self.rest, self.absent_mlp)
        )
        return _Graph(self.nodes, self.own[:, rows], rest, absent_mlp, self.wanted[rows])


def _graph(
    subject: Subject,
    query: int,
    ablation: Ablation,
    seed: int,
) -> _Graph:
    task, model, tables, tokens = subject
    if len(tokens) != task.size:
        raise ValueError(f"There are {len(tokens):,} strings; the task has {task.size:,}.")
    task.slot_of(query)
    read, wanted = inputs(tokens), targets(tokens)[:, query]
    direct = tables.embedded[query, read[:, query]].unsqueeze(1)
    # (strings, node, d_model)
    written = torch.cat([direct, handed_over(tables, read, query).sum(dim=1)], dim=1)
    absent = _instead(written, ablation, seed)
    with torch.no_grad():
        written_by_mlp = mlp_out(model, written.sum(dim=1) + tables.bias)
    absent_mlp = _instead(written_by_mlp, ablation, seed)
    # Nodes first: a circuit is then one product with long rows, far quicker than a masked sum.
    own = (written - absent).transpose(0, 1).contiguous()
    nodes = ("direct", *(f"key {k}" for k in range(query + 1)), "mlp")
    return _Graph(nodes, own, absent.sum(dim=1) + tables.bias, absent_mlp, wanted)


def _logits(
    model: TransformerBridge, graph: _Graph, circuit: int
) -> Float[Tensor, "strings vocab"]:
    n = len(graph.own)
    kept = (circuit >> torch.arange(n) & 1).double()
    resid_mid = (kept @ graph.own.flatten(1)).view(graph.own.shape[1:]) + graph.rest
    with torch.no_grad():
        added = mlp_out(model, resid_mid) if circuit >> n & 1 else graph.absent_mlp
        return unembedded(model, resid_mid + added)


def _instead(
    written: Float[Tensor, "strings *node d_model"], ablation: Ablation, seed: int
) -> Float[Tensor, "#strings *node d_model"]:
    if ablation == "donor":
        generator = torch.Generator().manual_seed(seed)
        return written[torch.randperm(len(written), generator=generator)]
    mean = written.mean(dim=0, keepdim=True)
    return mean if ablation == "mean" else torch.zeros_like(mean)


def minimal(faithful: Bool[Tensor, "circuits"]) -> list[int]:
    """The faithful circuits of which no proper subset is faithful, in ascending order."""
    minimal_circuits: list[int] = []
    # A proper subset is a smaller number, and holds a minimal circuit if it is faithful.
    for circuit in faithful.nonzero().flatten().tolist():
        if not any(smaller & circuit == smaller for smaller in minimal_circuits):
            minimal_circuits.append(circuit)
    return minimal_circuits


def incompleteness(score: Float[Tensor, "circuits"], circuit: int) -> tuple[float, int]:
    """``F(C∖K) − F(M∖K)`` for the subset K of a circuit C where it is furthest from 0, and this K.

    M is the whole model, F the score; of several such K the first. A complete circuit fails where
    the model fails: 0 says that nothing outside it stands in for any part of it. Below 0 the model
    does better, so that something outside does (Wang et al. 2023, section 4; they take ``|…|``).
    """
    numbers = torch.arange(len(score))
    removed = numbers[(numbers & circuit) == numbers]
    whole = len(score) - 1
    gaps = score[circuit & ~removed] - score[whole & ~removed]
    worst = int(gaps.abs().argmax())
    return float(gaps[worst]), int(removed[worst])


def minimality(score: Float[Tensor, "circuits"], circuit: int) -> dict[int, float]:
    """For each node v of C the largest ``|F(C∖(K∪v)) − F(C∖K)|`` over all K of the other nodes.

    The keys are the bits of the nodes. 0 says that a node does nothing in this circuit
    (Wang et al. 2023, section 4).
    """
    numbers = torch.arange(len(score))
    left = numbers[(numbers & circuit) == numbers]
    by_node = {}
    for bit in range(len(score).bit_length() - 1):
        if circuit >> bit & 1:
            held = left[(left >> bit & 1).bool()]
            by_node[bit] = float((score[held] - score[held & ~(1 << bit)]).abs().max())
    return by_node
