"""What the reader of each chapter may choose, one record for each chapter that has a choice."""

from typing import ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from palindrome_lens.parameters import (
    DistinctNumbers,
    Hook,
    OfAutoencoder,
    OfBook,
    OfModel,
    OfRecipe,
    OfShape,
    OfTask,
    OneHead,
    Parameters,
    Seed,
    Seeds,
    WandbMode,
    check_batch,
)

A_TABLE = "this chapter reads tables of autoencoders that were trained on the book's own task"


class Data(OfTask):
    shortest = 1

    test_fraction: float = Field(gt=0, lt=1)
    seed: Seed

    @model_validator(mode="after")
    def _check_split(self) -> Self:
        check_batch(self.task, 1, self.test_fraction)
        return self


class Training(OfTask, OfShape, OfRecipe):
    shortest = 1

    seed: Seed
    seeds: Seeds
    wandb_mode: WandbMode

    @model_validator(mode="after")
    def _check_training_set(self) -> Self:
        check_batch(self.task, max(4, self.batch_size))  # 4 in the original recipe
        return self


class Attention(OfModel):
    most_strings = 100_000

    seed: Seed
    seeds: Seeds


class Weights(OneHead):
    most_strings = 70_000

    seed: Seed


class Mechanism(OfModel):
    """With h letters before the bar, combinations of h + 1 letters are enumerated."""

    most_strings = 20_000

    seed: Seed
    seeds: Seeds
    draws: int = Field(ge=1, le=10_000)
    random_sets: int = Field(ge=1, le=1000)


class Limits(OfBook):
    because = "this chapter spoils strings of the book's own task, position by position"

    seed: Seed


class Attribution(OfBook):
    because = "this chapter compares estimates at the three queries of the book's own task"

    seed: Seed
    seeds: Seeds


class Circuits(OfBook):
    because = "this chapter enumerates the circuits of the book's own task"

    seed: Seed
    seeds: Seeds
    graded: float = Field(gt=0, le=1)


class Mlp(OfBook):
    because = "this chapter compares shapes of models on the book's own task"

    seeds: Seeds
    many_seeds: Seeds
    orders: int = Field(ge=1, le=100)
    draws: int = Field(ge=1, le=1000)
    deals: int = Field(ge=1, le=100)


class Emergence(OfBook):
    because = "this chapter keeps the steps in which the book's own task is learned"

    seed: Seed


class Letters(OfBook):
    because = "this chapter reads a table of models that were trained on the book's own task"

    seed: Seed


class Atoms(Parameters):
    n_images: int = Field(ge=256, le=100_000)  # a batch of the autoencoder has 256
    iterations: int = Field(ge=1, le=1000)
    n_seeds: int = Field(ge=1, le=32)


class Dictionary(OfBook, OfAutoencoder):
    because = A_TABLE

    original_steps: int = Field(ge=1, le=100_000)
    seed: Seed
    seeds: Seeds
    transformers: Seeds
    wandb_mode: WandbMode


class Reference(OfBook):
    because = "this chapter divides the variance among the letters of the book's own task"

    hook: Hook
    seeds: Seeds


class Architectures(OfBook, OfAutoencoder):
    because = A_TABLE

    batch_size: int = Field(ge=1)
    seed: Seed
    seeds: Seeds
    wandb_mode: WandbMode

    @model_validator(mode="after")
    def _check_samples(self) -> Self:
        if self.batch_size > self.task.size:
            raise ValueError(
                f"batch_size is {self.batch_size:,}; there are {self.task.size:,} strings."
            )
        return self


class Scores(OfBook):
    because = A_TABLE

    hook: Hook
    steps: int = Field(ge=1, le=100_000)
    seed: Seed
    seeds: Seeds


class Leaderboard(OfBook):
    because = A_TABLE
    scored_seeds: ClassVar[int] = 5
    scored_transformers: ClassVar[int] = 10

    least_explained: float = Field(ge=0, lt=1)
    sampled_seeds: int = Field(ge=1, le=scored_seeds)
    probed_again: int = Field(ge=0, lt=scored_transformers)


class Latents(OfBook):
    because = A_TABLE

    least_explained: float = Field(ge=0, lt=1)
    seed: Seed
    seeds: Seeds
    transformers: Seeds


class Proof(Parameters):
    """Behind the bar each query has cells enough for a slice."""

    checked_again: DistinctNumbers

    @field_validator("checked_again")
    @classmethod
    def _check_queries(cls, queries: list[int]) -> list[int]:
        if unlike := [query for query in queries if not 9 <= query <= 17]:
            raise ValueError(f"checked_again holds {unlike[0]}; queries go from 9 to 17.")
        return queries


class Costs(Parameters):
    sae_batch: Literal[256, 1024, 4096]
    peers_precision: Literal["float32", "float64"]


class Exchange(OfBook, OfAutoencoder):
    because = "this chapter reads what another library made of files about the book's own task"

    seed: Seed
